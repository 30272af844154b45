"""Files that would run code, through every entry point and in every process that we start."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest

from benchmarks.interactions import read_interactions
from serving.index import files
from serving.index import processes
from serving.index.updating.changes import Changes
from tests.helpers.direct import direct
from tests.helpers.hostile import hostile
from tests.helpers.hostile import make_hostile
from tests.helpers.servables import seal_without_scann
from tests.helpers.servables import write_vectors
from tests.tfx_pipeline.commands.log_check_test import configuration
from tests.tfx_pipeline.commands.log_check_test import make_log
from tfx_pipeline.commands.index_changes import read_deletes
from tfx_pipeline.commands.index_changes import read_upserts
from tfx_pipeline.commands.log_check import check_log
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.messages import unpack
from tfx_pipeline.components.timeline_example_gen.plan import make_plan
from tfx_pipeline.datasets.dead_letter import dead_letters
from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.file_parts import FilePart
from tfx_pipeline.datasets.file_parts import batches
from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.shop.users import Users
from tfx_pipeline.datasets.user_history import read_history
from tfx_pipeline.datasets.validate import validate_event_log
from tfx_pipeline.evaluation.metrics.listed import _read_counts
from transforms.arrow import pa

REFUSED = "would run code"
EVENTS = "events/a.parquet"
CATALOGUE = "catalogue/a.parquet"


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What reading a hostile file would make."""
    return tmp_path / "ran"


@pytest.fixture
def log(tmp_path: Path, marker: Path) -> Path:
    """An event log of which every table is hostile."""
    root = make_log(tmp_path / "log", query=["red shoes"] * 200)
    make_hostile(root / EVENTS, "query", marker)
    make_hostile(root / CATALOGUE, "entity_id", marker)
    return root


@pytest.fixture
def index(tmp_path: Path, marker: Path) -> Path:
    """A sealed index with hostile candidates."""
    path = write_vectors(tmp_path / "index", ["item:0", "item:1"], np.eye(2))
    info = seal_without_scann(path).info
    make_hostile(path / files.CANDIDATES, "title", marker)
    files.write_info(path, info)
    return path


def file_part(log: Path) -> FilePart:
    return FilePart(EVENTS_TABLE, str(log / EVENTS), 0, 1, 0, 0, 0)


OF_A_LOG: dict[str, Callable[[Path], Any]] = {
    "check before a run": lambda log: check_log(configuration(log)),
    "plan of the generator": lambda log: make_plan(str(log), TimelineConfig()),
    "batches of the generator": lambda log: list(batches(file_part(log), ["user_id"])),
    "dead letters": lambda log: dead_letters(file_part(log), np.array([0]), ["bad"]),
    "events": lambda log: EventLog(log).read(EVENTS_TABLE, ["user_id"]),
    "catalogue": lambda log: EventLog(log).read(CATALOGUE_TABLE),
    "manifest": lambda log: Manifest(name="toy", time="real").with_counts(log),
    "history of a user": lambda log: read_history(log, "u0"),
    "upserts": lambda log: read_upserts([log / CATALOGUE], lambda rows: np.zeros((len(rows), 2))),
    "deletes": lambda log: read_deletes([log / CATALOGUE]),
    "changes": lambda log: Changes.read(_as_changes(log)),
    "counts of a metric": lambda log: _read_counts(str(log / EVENTS)),
    "users of the shop": lambda log: Users.read(log / "events"),
    "benchmarks": read_interactions,
}


def _as_changes(log: Path) -> Path:
    for name in ("upserts", "deletes"):
        (log / f"{name}.parquet").write_bytes((log / EVENTS).read_bytes())
    return log


@pytest.mark.parametrize("read", OF_A_LOG.values(), ids=OF_A_LOG)
def test_a_log_is_refused(log: Path, marker: Path, read: Callable[[Path], Any]) -> None:
    with pytest.raises(ValueError, match=REFUSED):
        read(log)
    assert not marker.exists()


def test_validation_names_the_files(log: Path, marker: Path) -> None:
    found = {(p.kind, p.table): p for p in validate_event_log(log)}
    for table, name in ((EVENTS_TABLE, EVENTS), (CATALOGUE_TABLE, CATALOGUE)):
        problem = found["unsafe-file", table]
        assert (problem.severity, problem.samples) == ("error", ({"file": name},))
        assert REFUSED in problem.message
    assert not marker.exists()


def test_an_index_is_refused(index: Path, marker: Path) -> None:
    for read in (files.open_index, files.load_candidates):
        with pytest.raises(files.IndexIntegrityError, match=rf"candidates\.parquet.*{REFUSED}"):
            read(index)
    assert not marker.exists()


def test_a_message_between_workers_is_refused(tmp_path: Path, marker: Path) -> None:
    table = hostile(pa.table({"a": ["x"]}), "a", marker)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(ValueError, match=REFUSED):
        unpack(sink.getvalue().to_pybytes())
    assert not marker.exists()


def vitrine(*arguments: object) -> tuple[int, str]:
    """Runs the command line in a process of its own; returns its exit code and what it wrote."""
    command = [sys.executable, "-m", "tfx_pipeline.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_commands_refuse_in_their_processes(log: Path, index: Path, marker: Path) -> None:
    config = configuration(log)
    run = Path(config.run_dir)
    run.mkdir()
    (run / "config.yaml").write_text(config.to_yaml())
    commands = (
        ("data", "validate", log),
        ("run", run / "config.yaml"),
        ("recommend", "--run", run, "--user", "u0"),
        ("index", "inspect", "--base-path", index),
    )
    for command in commands:
        code, text = vitrine(*command)
        assert (code, REFUSED in text, "Traceback" in text) == (1, True, False), text
    assert not marker.exists()


def test_processes_of_the_index_refuse(index: Path, marker: Path, tmp_path: Path) -> None:
    steps = {
        "building.build": ["--index", index],
        "updating.apply": ["--index", index, "--changes", tmp_path, "--out", tmp_path / "out"],
        "checking.check": ["--index", index, "--queries", index / files.VECTORS],
    }
    for module, arguments in steps.items():
        with pytest.raises(ValueError, match=REFUSED):
            processes.run_module(f"serving.index.{module}", list(map(str, arguments)))
    assert not marker.exists()


def test_a_spawned_worker_of_the_shop_refuses(log: Path, marker: Path) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        with pytest.raises(ValueError, match=REFUSED):
            pool.submit(Users.read, log / "events").result()
    assert not marker.exists()


@pytest.mark.slow
def test_a_worker_of_beam_refuses(log: Path, marker: Path) -> None:
    options = ("--direct_running_mode=multi_processing", "--direct_num_workers=1")
    with pytest.raises(RuntimeError, match=REFUSED):
        with direct(*options) as pipeline:
            _ = (
                pipeline
                | beam.Create([file_part(log)])
                | beam.Map(lambda one: [row for row, _ in batches(one, ["user_id"])])
            )
    assert not marker.exists()
