"""The end of every trained stage: a servable is evaluated, asked through a server and pushed."""

from __future__ import annotations

from typing import NamedTuple

from tfx import v1 as tfx

from serving.sources.config import ScoringConfig
from tfx_pipeline.code_version import code_version
from tfx_pipeline.components.pusher import Pusher
from tfx_pipeline.components.serving_validator import ServingValidator
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.evaluation.evaluator import Evaluator
from tfx_pipeline.stages.config import StageConfig
from tfx_pipeline.stages.data import Data
from tfx_pipeline.stages.table import STAGES
from tfx_pipeline.stages.training import Training

_COMPONENTS = "tfx_pipeline.components"


class Release(NamedTuple):
    """The components that judge a servable and push it."""

    evaluator: Evaluator
    serving_validator: ServingValidator | None
    pusher: Pusher


def release(
    trained: Training,
    servable: tfx.types.BaseChannel,
    section: StageConfig,
    config: PipelineConfig,
    made: Data,
    index_blessing: tfx.types.BaseChannel | None = None,
    neighbours: tfx.types.BaseChannel | None = None,
    scoring: ScoringConfig | None = None,
    neighbours_blessing: tfx.types.BaseChannel | None = None,
) -> Release:
    """Makes the components that evaluate, validate and push a servable.

    Args:
        trained: The stage's training: what the servable is compared with and made of.
        servable: A directory with `servable.json`, of type `Model`.
        section: The stage's section of the configuration.
        config: What to run.
        made: The data stage.
        index_blessing: The index validator's verdict, where there is an index.
        neighbours: Neighbour lists, which are measured beside the servable.
        scoring: How they score.
        neighbours_blessing: The neighbour validator's verdict, where the servable holds them.
    """
    stage = STAGES[trained.stage]
    examples = made.example_gen.outputs["examples"]
    name = stage.model_name(config.name)

    evaluator = Evaluator(
        examples=examples,
        model=servable,
        baseline_model=trained.latest_blessed.outputs["model"],
        config=section.evaluation,
        code_version=code_version("tfx_pipeline.evaluation.evaluator"),
        monitor=section.trainer.validation.monitor,
        neighbours=neighbours,
        scoring=scoring,
    ).with_id(stage.component_id("evaluator"))

    # Asked over the wire, as it would be pushed, before it may be.
    serving_validator = None
    if section.serving_validation.enabled:
        serving_validator = ServingValidator(
            servable=servable,
            model=trained.trainer.outputs["model"],
            examples=examples,
            config=section.serving_validation,
            name=name,
            push=section.push,
            code_version=code_version(f"{_COMPONENTS}.serving_validator", "serving.local_server"),
        ).with_id(stage.component_id("serving-validator"))

    pusher = Pusher(
        servable=servable,
        index_blessing=index_blessing,
        neighbours_blessing=neighbours_blessing,
        model_blessing=evaluator.outputs["blessing"],
        serving_blessing=serving_validator.outputs["blessing"] if serving_validator else None,
        evaluation=evaluator.outputs["evaluation"],
        examples=examples,
        config=section.push,
        name=name,
        push_dir=config.push_dir_of(stage.name),
        release_candidate=trained.release_candidate,
        serving_state=trained.serving_state,
        code_version=code_version(f"{_COMPONENTS}.pusher"),
        run_config=config.pushed_json(stage.name),
    ).with_id(stage.component_id("pusher"))

    return Release(evaluator, serving_validator, pusher)
