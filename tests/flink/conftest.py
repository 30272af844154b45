"""One Flink cluster for all tests here; without one they are skipped."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.helpers.flink_cluster import FlinkCluster
from tests.helpers.flink_cluster import flink_cluster
from tests.helpers.flink_cluster import missing


@pytest.fixture(scope="session")
def start() -> Iterator[Callable[..., Future[Any]]]:
    """Runs a job in a thread, which ends at the latest when the cluster does."""
    pool = ThreadPoolExecutor()
    yield pool.submit
    pool.shutdown()


@pytest.fixture(scope="session")
def flink(start: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkCluster]:
    if reason := missing():
        pytest.skip(reason)
    with flink_cluster(tmp_path_factory.mktemp("flink")) as running:
        yield running
        processes = running.processes()
    assert not [one for one in processes if one.is_running() and one.status() != "zombie"]


@pytest.fixture
def cluster(flink: FlinkCluster) -> FlinkCluster:
    """The cluster with all its hosts."""
    flink.restore()
    return flink
