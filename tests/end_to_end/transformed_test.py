"""Benchmarks train on what a run transformed, without running the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.transformed import transformed_log
from tests.end_to_end.conftest import Run
from transforms.vocabulary import entity_vocabulary

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


@pytest.mark.parametrize("run", ["shop_demo"], indirect=True)
def test_the_timelines_of_a_run_are_read_from_its_cache(run: Run) -> None:
    data = transformed_log(run.config)

    assert len(list(data.examples.parent.iterdir())) == 1  # nothing was made anew
    for split in ("train", "validation", "test", "catalogue"):
        assert data.files(split)
    assert data.graph.is_relative_to(Path(run.config.run_dir))
    assert entity_vocabulary(data.output())
