"""The component after the neighbour builder, as a runner would call both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

import tfx_pipeline
from serving.sources.config import CountingConfig
from serving.sources.config import ListCheckConfig
from serving.sources.config import NeighboursConfig
from serving.sources.neighbours import TABLE
from serving.sources.neighbours import NeighboursIntegrityError
from tests.helpers.artifacts import artifact
from tests.helpers.artifacts import raw_examples
from tests.helpers.examples import catalogue_row
from tests.helpers.examples import timeline
from tests.tfx_pipeline.components.conftest import do
from tfx_pipeline.components.neighbour_builder.component import Executor as Builder
from tfx_pipeline.components.neighbour_validator.component import Executor
from tfx_pipeline.components.pusher import objections

pytestmark = pytest.mark.slow

CONFIG = NeighboursConfig(neighbours=5, validation_entities=10)


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """Examples of 60 users and 20 items, and their lists."""
    folder = tmp_path_factory.mktemp("counted")
    items = [f"item:{i:02d}" for i in range(20)]
    train = [timeline(f"u{i}", [items[(i + i * j) % 20] for j in range(6)]) for i in range(60)]
    splits = {"train": train, "catalogue": [catalogue_row(item) for item in items]}
    inputs = {"examples": raw_examples(folder / "examples", splits, shards=2)}
    lists = artifact(tfx_pipeline.NeighbourLists, folder / "neighbours", 7)
    config = CONFIG.section(CountingConfig).to_json()
    do(Builder, inputs, {"neighbours": lists}, {"config": config})
    return inputs | {"neighbours": lists}


def judge(inputs, folder, config=CONFIG):
    blessing = artifact(standard_artifacts.ModelBlessing, folder / "blessing")
    properties = {"config": config.section(ListCheckConfig).to_json()}
    do(Executor, inputs, {"blessing": blessing}, properties)
    return blessing


def test_lists_that_were_counted_are_blessed(counted, tmp_path):
    blessing = judge(counted, tmp_path)
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_string_custom_property("current_neighbours") == counted["neighbours"].uri
    assert blessing.get_int_custom_property("current_neighbours_id") == 7
    assert sorted(path.name for path in Path(blessing.uri).iterdir()) == ["BLESSED", "report.json"]
    report = json.loads(Path(blessing.uri, "report.json").read_text())
    assert report["blessed"] is True and report["reasons"] == []
    assert report["recall"] == 1.0 and report["weight_error"] == 0.0 and report["coverage"] == 1.0
    assert report["entities"] == 10


def test_lists_that_were_counted_otherwise_are_not_blessed_and_stop_the_push(counted, tmp_path):
    blessing = judge(counted, tmp_path, CONFIG.model_copy(update={"window": 2, "backwards": 1.0}))
    assert blessing.get_int_custom_property("blessed") == 0
    names = sorted(path.name for path in Path(blessing.uri).iterdir())
    assert names == ["NOT_BLESSED", "report.json"]
    model = artifact(standard_artifacts.ModelBlessing, tmp_path / "model")
    model.set_int_custom_property("blessed", 1)
    (reason,) = objections({"neighbours_blessing": [blessing], "model_blessing": [model]})
    assert reason.startswith("the neighbour lists are not blessed (")
    assert "differs from its recount" in reason


def test_lists_that_are_damaged_are_an_error_and_no_verdict(counted, tmp_path):
    lists = artifact(tfx_pipeline.NeighbourLists, tmp_path / "neighbours")
    for file in Path(counted["neighbours"].uri).iterdir():
        content = file.read_bytes()
        (tmp_path / "neighbours" / file.name).write_bytes(
            content[:-1] if file.name == TABLE else content
        )
    with pytest.raises(NeighboursIntegrityError, match="altered or cut short"):
        judge(counted | {"neighbours": lists}, tmp_path)
    assert list((tmp_path / "blessing").iterdir()) == []
