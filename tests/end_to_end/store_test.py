"""A run whose log, directory and pushes are in an object store equals one in folders."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serving.client import RecommenderClient
from serving.client import wait_until_ready
from serving.publishing.labels import read_labels
from serving.publishing.versions import pushed_versions
from tests.end_to_end.conftest import SHRUNK
from tests.end_to_end.conftest import UNRANKED
from tests.end_to_end.conftest import Run
from tests.helpers.s3_server import S3Server
from tfx_pipeline.commands.run import execute
from tfx_pipeline.commands.run import require_writable
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.config_file import load_config
from transforms.storage import files_below
from transforms.storage import place
from transforms.stored_folders import scratch_dir
from transforms.stored_folders import upload

pytestmark = [pytest.mark.nightly, pytest.mark.slow, pytest.mark.e2e]
BESIDE_FOLDERS = pytest.mark.parametrize("run", ["shop_sequence"], indirect=True)


@dataclass(frozen=True)
class Stored:
    """A finished run in a store."""

    config: PipelineConfig
    metrics: dict[str, Any]


@pytest.fixture(scope="module")
def stored(
    shop_log: Path, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stored]:
    """The sequence model of the fixture `run`, with every address in a bucket."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment().items():
            patch.setenv(name, value)
        patch.setenv("VITRINE_SCRATCH_DIR", str(tmp_path_factory.mktemp("scratch")))
        home = s3_server.make_bucket("whole-run")
        log: Any = place(f"{home}/log")
        upload(shop_log, log)
        places = ("name=shop", f"log_dir={log}", f"run_dir={home}/run")
        config = load_config("shop_sequence", (*places, *SHRUNK, *UNRANKED))
        require_writable(config)
        metrics, _, cached = execute(config)
        assert cached == ()
        yield Stored(config, metrics)


def flat(metrics: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Returns the numbers of a report but for those of time: seconds and milliseconds."""
    found = {}
    for key, value in metrics.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and not {"ms", "seconds"} & {*key.split("_")}:
            found[prefix + key] = float(value)
    return found


@BESIDE_FOLDERS
def test_metrics_are_those_of_folders(run: Run, stored: Stored) -> None:
    for section in ("validation", "test", "gate"):
        here, there = flat(run.metrics[section]), flat(stored.metrics[section])
        assert there == pytest.approx(here, abs=1e-4), section


@BESIDE_FOLDERS
def test_everything_is_in_the_store(run: Run, stored: Stored) -> None:
    root = place(stored.config.run_dir)
    names = {str(path.relative_to(root)) for path in files_below(root)}
    assert {"config.yaml", "metrics.json", "metadata.sqlite", "run.log"} <= names
    assert any(name.startswith("artifacts/trainer/model/") for name in names)
    pushed = place(stored.config.push_dir_of("retrieval"))
    assert pushed_versions(pushed) == [1]
    labels = read_labels(pushed)
    assert labels is not None and labels.versions == {"stable": 1, "canary": 1}
    version = {str(path.relative_to(pushed / "1")) for path in files_below(pushed / "1")}
    local = {str(p.relative_to(run.version)) for p in run.version.rglob("*") if p.is_file()}
    assert version - {"_MANIFEST.json"} == local
    assert not list(Path().glob("s3:*"))


def test_another_machine_is_answered_from_the_cache(stored: Stored) -> None:
    root: Any = place(stored.config.run_dir)
    shutil.rmtree(scratch_dir(root))
    metrics, _, cached = execute(stored.config)
    assert "trainer" in cached and "transform" in cached and "pusher" in cached
    assert metrics == stored.metrics
    assert pushed_versions(stored.config.push_dir_of("retrieval")) == [1]


def test_a_server_answers_from_a_copy(stored: Stored) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--run", stored.config.run_dir, "--port", str(port), "--rest-port", "0"]
    command = [sys.executable, "-m", "tfx_pipeline.cli", "serve", *options]
    server = subprocess.Popen(command)
    try:
        with RecommenderClient(f"127.0.0.1:{port}", model="shop") as client:
            wait_until_ready(client, timeout=240)
            assert len(client.recommend(k=10).ids) == 10
    finally:
        server.terminate()
        server.wait()
