"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps tests that share costly fixtures on one worker of `-n`: those of a directory.

    Whole runs get a time limit of their own; every other test has the one of `pyproject.toml`.
    """
    for item in items:
        if item.get_closest_marker("e2e") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1500))
        item.add_marker(pytest.mark.xdist_group(str(item.path.parent)))


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
