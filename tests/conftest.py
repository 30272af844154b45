"""Fixtures that every test may use."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

from tests.helpers.s3_server import S3Server

ROOT = Path(__file__).parents[1]
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _group(nodeid: str) -> str:
    """Returns the nearest directory above a test with a `conftest.py`, or the test's own."""
    own = Path(nodeid.partition("::")[0]).parent
    shared = next(place for place in (own, *own.parents) if (ROOT / place / "conftest.py").exists())
    return str(own if ROOT / shared == Path(__file__).parent else shared)


class ByDirectory(LoadScopeScheduling):
    """Keeps tests that share costly fixtures on one worker of `-n`.

    They are in one directory, or in directories below one that has a `conftest.py`.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByDirectory:
    """Takes the place of `--dist loadgroup`, which xdist 3.8 ignores under pytest 9.2."""
    return ByDirectory(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option that `make test-nightly` gives."""
    parser.addoption("--nightly", action="store_true", help="run tests marked `nightly`, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts directories of slow tests first, and gives whole runs a time limit of their own.

    What is quick then fills the time until both workers are done. Other tests have the limit of
    `pyproject.toml`. Those marked `nightly` are skipped unless they are asked for.
    """
    skip = pytest.mark.skip(reason="takes minutes: `make test-nightly`")
    for item in items:
        if item.get_closest_marker("nightly") and not config.getoption("--nightly"):
            item.add_marker(skip)
    slow = {_group(item.nodeid) for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: _group(item.nodeid) not in slow)
    for item in items:
        if item.get_closest_marker("e2e") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1500))


@pytest.fixture(scope="session")
def data_file() -> Callable[[str], Path]:
    """Finds a file of public data by its name under `$VITRINE_DATA_HOME`.

    A test that asks for a file which is not there is skipped with the file's
    name.
    """

    def find(name: str) -> Path:
        home = os.environ.get("VITRINE_DATA_HOME")
        path = Path(home, name) if home else None
        if path is None or not path.exists():
            pytest.skip(f"`{name}` is not under $VITRINE_DATA_HOME ({home})")
        return path

    return find


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server; only those who set its environment ask it."""
    with S3Server() as server:
        yield server


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty bucket, of which this process is a user."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return s3_server.make_bucket(f"bucket-{uuid.uuid4().hex[:12]}")
