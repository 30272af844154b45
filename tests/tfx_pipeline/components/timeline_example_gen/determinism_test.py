"""The same log gives the same bytes, however many workers read it and however it is cut."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.helpers.direct import ONE_WORKER
from tests.tfx_pipeline.components.timeline_example_gen.logs import run
from tests.tfx_pipeline.components.timeline_example_gen.logs import write_log
from tfx_pipeline.components.timeline_example_gen import job

ROWS = 6_000
TWO_THREADS = ("--direct_running_mode=multi_threading", "--direct_num_workers=2")
TWO_PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
CONFIG = {
    "buckets": 5,
    "max_events_per_example": 40,
    "context_events": 10,
    "label": {"events": ["*"]},
}


def a_log(
    path: Path, order: np.ndarray | None = None, row_group_size: int = 500, files: int = 3
) -> Path:
    """A log with ties, pages, queries, values, bad rows and users; rows in any order."""
    generator = np.random.default_rng(0)
    kinds = np.array(["watch", "click", "impression", "buy"])
    table = pa.table(
        {
            "user_id": [f"u{u}" for u in np.minimum(generator.geometric(0.03, ROWS), 120)],
            "entity_type": ["item"] * ROWS,
            "entity_id": [str(i) for i in generator.integers(0, 300, ROWS)],
            "event": kinds[generator.choice(4, ROWS, p=[0.4, 0.2, 0.3, 0.1])],
            "timestamp": 1_700_000_000_000_000 + generator.integers(0, 5_000, ROWS) * 10**6,
            "ordinal": np.arange(ROWS),
            "page_id": [f"p{p}" for p in generator.integers(0, 50, ROWS)],
            "position": pa.array(generator.integers(0, 10, ROWS), pa.int32()),
            "query": [None if q else "shoes" for q in generator.integers(0, 2, ROWS)],
            "value": generator.random(ROWS),
        }
    )
    bad = pa.array(
        [None if i % 997 == 0 else name for i, name in enumerate(table["user_id"].to_pylist())]
    )
    table = table.set_column(0, "user_id", bad)
    if order is not None:
        table = table.take(pa.array(order))
    catalogue = [
        {"entity_type": "item", "entity_id": str(i), "available_from": 10**15 + i * 10**12}
        for i in range(300)
    ]
    users = [{"user_id": f"u{u}", "attributes": [f"group={u % 3}"]} for u in range(100)]
    return write_log(path, table, catalogue, users, row_group_size=row_group_size, files=files)


def digests(uri: Path, pattern: str = "Split-*/*") -> dict[str, str]:
    """The hash of each file of an artifact by its name."""
    found = {
        str(path.relative_to(uri)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(uri.glob(pattern))
    }
    assert found
    return found


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact as one worker makes it."""
    path = tmp_path_factory.mktemp("one_worker")
    run(a_log(path / "log"), path / "out", ONE_WORKER, **CONFIG)
    return path / "out"


def test_two_threads_write_what_one_worker_writes(tmp_path: Path, one_worker: Path) -> None:
    run(a_log(tmp_path / "log"), tmp_path / "out", TWO_THREADS, **CONFIG)
    for pattern in ("Split-*/*", "dead_letter/*", "generation_report.json"):
        assert digests(tmp_path / "out", pattern) == digests(one_worker, pattern)
    for split in ("train", "test_pages"):
        names = {name for name in digests(one_worker) if split in name}
        assert names == {f"Split-{split}/data_tfrecord-{i:05d}-of-00005.gz" for i in range(5)}


@pytest.mark.slow
def test_two_processes_write_what_one_worker_writes(tmp_path: Path, one_worker: Path) -> None:
    run(a_log(tmp_path / "log"), tmp_path / "out", TWO_PROCESSES, **CONFIG)
    assert digests(tmp_path / "out") == digests(one_worker)


def test_the_order_of_rows_and_files_does_not_matter(tmp_path: Path, one_worker: Path) -> None:
    shuffled = np.random.default_rng(1).permutation(ROWS)
    log = a_log(tmp_path / "log", shuffled, row_group_size=4_000, files=1)
    run(log, tmp_path / "out", ONE_WORKER, **CONFIG)
    assert digests(tmp_path / "out") == digests(one_worker)


def test_negatives_are_the_same_for_two_threads(tmp_path: Path) -> None:
    log = a_log(tmp_path / "log")
    config = CONFIG | {"label": {"source": "events"}}
    for name, workers in (("one", ONE_WORKER), ("two", TWO_THREADS)):
        run(log, tmp_path / name, workers, **config)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_rows_may_wait_in_elements_as_they_do_on_a_cluster(
    tmp_path: Path, one_worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "temporary_storage", lambda pipeline: contextlib.nullcontext(""))
    run(a_log(tmp_path / "log"), tmp_path / "out", ONE_WORKER, **CONFIG)
    assert digests(tmp_path / "out") == digests(one_worker)
