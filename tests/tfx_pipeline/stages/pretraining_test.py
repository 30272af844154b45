"""Pretraining before the ranking stage: what the ranker takes of it, and what pretrains again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.pipelines import components
from tests.helpers.pipelines import custom_config
from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import write_log
from tfx_pipeline.stages import training

PRETRAINED = (
    "ranking.trainer.model={family: seminar, dim: 16}",
    "ranking.pretraining={epochs: 2}",
    "ranking.trainer.freeze=[projections]",
)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("wiring") / "log", [event("u", "a", 1)])


def test_ranking_starts_from_a_pretrained_model(log: Path) -> None:
    made = components(log, *PRETRAINED)
    pretrainer, trainer = made["ranking-pretrainer"], made["ranking-trainer"]
    for key in ("examples", "transform_graph", "schema"):
        assert pretrainer.inputs[key] is trainer.inputs[key]
    assert trainer.inputs["base_model"].producer_component_id == "ranking-pretrainer"
    assert "base_model" not in pretrainer.inputs
    told = custom_config(pretrainer)
    assert told["stage"] == "pretraining"
    model = json.loads(told["config"])["model"]
    assert (model["family"], model["dim"]) == ("seminar_pretraining", 16)
    assert told["code_version"] == training.trainer_code_version("seminar_pretraining")
    assert list(made).index("ranking-pretrainer") < list(made).index("ranking-trainer")


def test_a_change_of_the_ranker_does_not_pretrain_again(log: Path) -> None:
    def properties(*overrides: str) -> list[Any]:
        made = components(log, *PRETRAINED, *overrides)
        names = ("ranking-pretrainer", "ranking-trainer", "ranking-pusher")
        return [made[name].exec_properties for name in names]

    pretrainer, trainer, pusher = properties()
    for override in ("trainer.epochs=3", "trainer.model.hidden_units=[4]", "trainer.freeze=[]"):
        again = properties(f"ranking.{override}")
        assert again[0] == pretrainer and again[1] != trainer, override
    # What pretraining learns is not the ranker's to know, but a release candidate is made of it.
    again = properties("ranking.pretraining.model.losses.alignment.weight=0.1")
    assert again[0] != pretrainer and again[1] == trainer
    assert again[2]["release_candidate"] != pusher["release_candidate"]
    assert properties("ranking.trainer.model.dim=8")[0] != pretrainer


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("ranking.trainer.model={family: din}", "`trainer.model.family` is `din`"),
        ("ranking.pretraining.model={dim: 8}", "Set `trainer.model.dim`, not `pretraining"),
        ("ranking.trainer.warm_start=true", "leave one of them out"),
        ("ranking.tuning.minutes=5", "other shapes than those that were pretrained"),
        ("ranking.pretraining=null", "and it starts afresh"),
    ],
)
def test_a_pretraining_that_does_not_fit_is_refused(log: Path, override: str, said: str) -> None:
    given = [one for one in PRETRAINED if "din" not in override or "freeze" not in one]
    with pytest.raises(ValueError, match=said):
        components(log, *given, override)
