"""Timelines, neighbours and the embedded catalogue from Flink, one of whose hosts may fail."""

from __future__ import annotations

import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from benchmarks.timeline_generation import make_log
from serving.index import files
from serving.index.config import BuildConfig
from serving.index.embedding import shards
from serving.index.embedding.embed import EmbedCatalogue
from serving.index.embedding.records import split_files
from serving.sources.config import CountingConfig
from tests.helpers.artifacts import digests
from tests.helpers.direct import ONE_WORKER
from tests.helpers.examples import catalogue_row
from tests.helpers.examples import write_examples
from tests.helpers.flink_cluster import FlinkCluster
from tests.helpers.flink_settings import HOSTS
from tests.helpers.towers import save_towers
from tests.tfx_pipeline.components.neighbour_builder.job_test import random_users
from tests.tfx_pipeline.components.neighbour_builder.job_test import run as count
from tests.tfx_pipeline.components.neighbour_builder.job_test import write_log
from tests.tfx_pipeline.components.timeline_example_gen.determinism_test import CONFIG
from tests.tfx_pipeline.components.timeline_example_gen.determinism_test import a_log
from tests.tfx_pipeline.components.timeline_example_gen.logs import run as generate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PATIENCE = 600.0  # seconds
ITEMS = 2_000
Job = Future[Any]


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Towers, and a catalogue in several files."""
    home = tmp_path_factory.mktemp("catalogue")
    save_towers(home / "towers")
    rows = [catalogue_row(f"item:{i}", title=f"Thing {i}") for i in range(ITEMS)]
    write_examples(home, {"catalogue": rows}, shards=4)
    return home


def embed(home: Path, target: Path, arguments: list[str], parts: int) -> tuple[Any, Any]:
    """Runs the index job and returns candidates and vectors."""
    config = BuildConfig(embed_batch=64, shards=parts)
    (target / "shards").mkdir(parents=True)
    with beam.Pipeline(options=PipelineOptions(arguments)) as pipeline:
        _ = (
            pipeline
            | beam.Create(split_files(home / "Split-catalogue"))
            | EmbedCatalogue(str(home / "towers"), str(target / "shards"), config)
        )
    shards.collect(target / "shards", target, config.candidate_types)
    return pq.read_table(target / files.CANDIDATES), np.asarray(files.load_vectors(target))


def first_files(job: Job, pattern: str, folder: Path) -> int:
    """Waits until a job has written files, and returns how many."""
    deadline = time.monotonic() + PATIENCE
    while not (found := list(folder.glob(pattern))):
        assert not job.done(), job.exception()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return len(found)


def check_retry(cluster: FlinkCluster, lost: str) -> None:
    """The latest job ended well, and lost a host on its way."""
    job = cluster.jobs()[-1]
    assert job["state"] == "FINISHED"
    history = cluster.ask(f"/jobs/{job['jid']}/exceptions")["exceptionHistory"]["entries"]
    assert [one for one in history if lost in one["stacktrace"]]


def test_timelines_are_those_of_the_local_runner(
    cluster: FlinkCluster, start: Any, tmp_path: Path
) -> None:
    log = a_log(tmp_path / "log")
    start(generate, log, tmp_path / "flink", cluster.options, **CONFIG).result(PATIENCE)
    generate(log, tmp_path / "local", ONE_WORKER, **CONFIG)
    assert digests(tmp_path / "flink") == digests(tmp_path / "local")
    assert list((tmp_path / "flink").glob("dead_letter/*"))


def test_the_embedded_catalogue_is_that_of_the_local_runner(
    cluster: FlinkCluster, start: Any, tmp_path: Path, catalogue: Path
) -> None:
    job = start(embed, catalogue, tmp_path / "flink", cluster.options, parts=4)
    candidates, vectors = job.result(PATIENCE)
    wanted, same = embed(catalogue, tmp_path / "local", list(ONE_WORKER), parts=4)
    assert candidates.num_rows == ITEMS and candidates.equals(wanted)
    np.testing.assert_array_equal(vectors, same)


def test_neighbours_are_those_of_the_local_runner(
    cluster: FlinkCluster, start: Any, tmp_path: Path
) -> None:
    log = write_log(tmp_path / "log", random_users(seed=9, users=400), files=5)
    config = CountingConfig(half_life_days=5.0, partners=8, neighbours=5)
    more = {"events_a_range": 500}
    start(count, log, tmp_path / "flink", config, cluster.options, **more).result(PATIENCE)
    count(log, tmp_path / "local", config, ONE_WORKER, **more)
    assert digests(tmp_path / "flink") == digests(tmp_path / "local")


def test_timelines_when_a_host_is_lost(cluster: FlinkCluster, start: Any, tmp_path: Path) -> None:
    make_log(tmp_path / "log", 1_000_000, pages=True)
    job = start(generate, tmp_path / "log", tmp_path / "flink", cluster.options, buckets=64)
    written = first_files(job, "Split-train/*", tmp_path / "flink")
    cluster.lose_host(HOSTS[1])
    assert written < 64 and not job.done()
    job.result(PATIENCE)
    check_retry(cluster, HOSTS[1])
    generate(tmp_path / "log", tmp_path / "local", ONE_WORKER, buckets=64)
    assert digests(tmp_path / "flink") == digests(tmp_path / "local")


def test_the_embedded_catalogue_when_a_taskmanager_is_lost(
    cluster: FlinkCluster, start: Any, tmp_path: Path, catalogue: Path
) -> None:
    job = start(embed, catalogue, tmp_path / "flink", cluster.options, parts=1_000)
    written = first_files(job, "shards/*.json", tmp_path / "flink")
    listening = {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in cluster.processes()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    cluster.lose_taskmanager(HOSTS[1])
    assert written < 1_000 and not job.done()
    candidates, vectors = job.result(PATIENCE)
    check_retry(cluster, HOSTS[1])
    assert listening == set(HOSTS)
    wanted, same = embed(catalogue, tmp_path / "local", list(ONE_WORKER), parts=1_000)
    assert candidates.num_rows == ITEMS and candidates.equals(wanted)
    np.testing.assert_array_equal(vectors, same)
