"""The ranking stage: a model that scores the candidates of a page, and is its own servable."""

from __future__ import annotations

from typing import NamedTuple

from tfx import v1 as tfx

from tfx_pipeline.code_version import code_version
from tfx_pipeline.components.latest_blessed import LatestBlessed
from tfx_pipeline.components.pusher import Pusher
from tfx_pipeline.components.serving_validator import ServingValidator
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.evaluation.evaluator import Evaluator
from tfx_pipeline.stages.config import RankingConfig
from tfx_pipeline.stages.data import Data
from tfx_pipeline.stages.state import RunState
from tfx_pipeline.stages.training import training

_COMPONENTS = "tfx_pipeline.components"


class Ranking(NamedTuple):
    """The components that train, judge and push a ranking model."""

    latest_blessed: LatestBlessed
    trainer: tfx.components.Trainer
    evaluator: Evaluator
    serving_validator: ServingValidator | None
    pusher: Pusher


def ranking(section: RankingConfig, config: PipelineConfig, state: RunState, made: Data) -> Ranking:
    """Makes the components of the ranking stage.

    Args:
        section: The stage's section of the configuration.
        config: What to run.
        state: What is served.
        made: The data stage, which writes page examples for `section.label`.
    """
    examples = made.example_gen.outputs["examples"]
    trained = training("ranking", section.trainer, config, state, made, "validation_pages")
    servable = trained.trainer.outputs["model"]

    evaluator = Evaluator(
        examples=examples,
        model=servable,
        baseline_model=trained.latest_blessed.outputs["model"],
        config=section.evaluation,
        code_version=code_version("tfx_pipeline.evaluation.evaluator"),
    ).with_id("ranking-evaluator")

    serving_validator = None
    if section.serving_validation.enabled:
        serving_validator = ServingValidator(
            servable=servable,
            model=servable,
            examples=examples,
            config=section.serving_validation,
            name=config.model_name("ranking"),
            push=section.push,
            code_version=code_version(f"{_COMPONENTS}.serving_validator", "serving.local_server"),
        ).with_id("ranking-serving-validator")

    pusher = Pusher(
        servable=servable,
        model_blessing=evaluator.outputs["blessing"],
        serving_blessing=serving_validator.outputs["blessing"] if serving_validator else None,
        evaluation=evaluator.outputs["evaluation"],
        examples=examples,
        config=section.push,
        name=config.model_name("ranking"),
        push_dir=config.push_dir_of("ranking"),
        release_candidate=trained.release_candidate,
        serving_state=trained.serving_state,
        code_version=code_version(f"{_COMPONENTS}.pusher"),
        run_config=config.pushed_json("ranking"),
    ).with_id("ranking-pusher")

    return Ranking(trained.latest_blessed, trained.trainer, evaluator, serving_validator, pusher)
