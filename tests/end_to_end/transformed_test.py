"""Benchmarks train on what a run transformed, without running the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.conftest import Run
from tfx_pipeline.runners.transformed import transformed_log
from transforms.vocabulary import entity_vocabulary

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


@pytest.mark.parametrize("run", ["shop_demo"], indirect=True)
def test_the_timelines_of_a_run_are_read_from_its_cache(run: Run) -> None:
    trained_on = run.artifact("transform/transformed_examples")
    assert {path.name for path in trained_on.iterdir()} == {
        f"Split-{split}" for split in ("train", "validation", "validation_pages", "catalogue")
    }  # what any stage trains on or watches
    data = transformed_log(run.config)

    timelines = Path(run.config.run_dir, "artifacts", "timeline-example-gen", "examples")
    assert len(list(timelines.iterdir())) == 1  # made by the run, and not anew
    for split in ("train", "validation", "test", "catalogue"):
        assert data.files(split)
    assert data.graph.is_relative_to(Path(run.config.run_dir))
    assert entity_vocabulary(data.output())
