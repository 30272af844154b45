from __future__ import annotations

import pytest

import tfx_pipeline
from serving.sources.config import CountingConfig
from serving.sources.neighbours import Neighbours
from tests.helpers.artifacts import artifact
from tests.helpers.artifacts import raw_examples
from tests.helpers.examples import catalogue_row
from tests.helpers.examples import timeline
from tests.tfx_pipeline.components.conftest import do
from tfx_pipeline.components.neighbour_builder.component import Executor

pytestmark = pytest.mark.slow


def test_the_artifact_says_what_was_counted(tmp_path):
    splits = {
        "train": [timeline(f"u{i}", ["item:a", "item:b", "item:c"]) for i in range(3)],
        "catalogue": [catalogue_row("item:a"), catalogue_row("item:c"), catalogue_row("item:z")],
    }
    made = artifact(tfx_pipeline.NeighbourLists, tmp_path / "neighbours")
    do(
        Executor,
        {"examples": raw_examples(tmp_path / "examples", splits)},
        {"neighbours": made},
        {"config": CountingConfig(window=1, cooccurrence=0.0, damping=1.0).to_json()},
    )
    found = Neighbours.read(made.uri)
    assert found.of("item:b") == {"item:c": 0.75, "item:a": 0.375}
    assert made.get_int_custom_property("events") == 9
    assert made.get_int_custom_property("entities") == 3
    assert made.get_int_custom_property("in_catalogue") == 2
    assert made.get_string_custom_property("sha256") == found.info["sha256"]
