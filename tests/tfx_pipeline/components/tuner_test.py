"""Tests of the search as a component, with trainings of some seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tfx.types import standard_artifacts

from models.config import RetrievalTrainerConfig
from models.defaults import changed
from models.search_space import TuningConfig
from tests.helpers.artifacts import artifact
from tests.models.conftest import SMALL
from tests.models.conftest import SmallLog
from tests.models.conftest import log  # noqa: F401  (a fixture)
from tests.tfx_pipeline.components.conftest import do
from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import write_log
from tfx_pipeline.components.tuner import FILE
from tfx_pipeline.components.tuner import Executor
from tfx_pipeline.config_file import load_config
from tfx_pipeline.pipeline import create_pipeline
from tfx_pipeline.stages.state import read_state

CONFIG = changed(SMALL, {"epochs": 1, "steps_per_epoch": 2})


def search(log: SmallLog, folder: Path, trials: int) -> tuple[dict[str, Any], str]:  # noqa: F811
    """Runs the component; returns the values and what it says of them."""
    examples = artifact(standard_artifacts.Examples, log.examples)
    examples.split_names = '["train", "catalogue", "validation"]'
    graph = artifact(standard_artifacts.TransformGraph, log.graph)
    found = artifact(standard_artifacts.HyperParameters, folder)
    do(
        Executor,
        {"examples": examples, "transform_graph": graph},
        {"best_hyperparameters": found},
        {
            "stage": "retrieval",
            "config": CONFIG.to_json(),
            "tuning": TuningConfig(minutes=5, trials=trials).to_json(),
        },
    )
    assert [path.name for path in folder.iterdir()] == [FILE]  # TFX's Trainer wants one file
    return json.loads((folder / FILE).read_text()), found.get_string_custom_property("found")


@pytest.mark.slow
def test_the_best_trial_is_what_the_trainer_takes(
    log: SmallLog,  # noqa: F811
    tmp_path: Path,
) -> None:
    first, told = search(log, tmp_path / "best" / "1", trials=1)
    assert changed(CONFIG, first) == CONFIG  # the section as it is
    assert "1 trials" in told
    found, told = search(log, tmp_path / "best" / "2", trials=2)  # goes on with the first
    tuned = changed(CONFIG, found)
    assert isinstance(tuned, RetrievalTrainerConfig) and "2 trials" in told
    assert {"optimizer.learning_rate", "model.dim"} <= found.keys()


def test_minutes_put_a_search_before_the_trainer(tmp_path: Path) -> None:
    places = (f"log_dir={write_log(tmp_path / 'log', [event('u', 'a', 1)])}",)
    places += (f"run_dir={tmp_path / 'run'}", "ranking={}")

    def components(*overrides: str) -> dict[str, Any]:
        config = load_config("shop_demo", (*places, *overrides))
        return {
            one.id: one for one in create_pipeline(config, read_state(config), "root").components
        }

    plain, tuned = components(), components("retrieval.tuning.minutes=10")
    assert tuned.keys() - plain.keys() == {"tuner"}
    [taken] = [tuned["trainer"].inputs["hyperparameters"]]
    assert taken.producer_component_id == "tuner"
    assert "hyperparameters" not in plain["trainer"].inputs
    assert (
        tuned["tuner"].exec_properties["config"]
        == json.loads(tuned["trainer"].exec_properties["custom_config"])["config"]
    )
