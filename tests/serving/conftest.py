"""What several folders of the serving tests share: it is built once."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def ranker_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with version 1 of a small ranker, as the Trainer exports it."""
    from tests.helpers.rankers import export_ranker
    from tests.helpers.rankers import small_data

    base = tmp_path_factory.mktemp("ranker")
    export_ranker(small_data(tmp_path_factory.mktemp("log")), base / "1")
    return base
