"""The retrieval stage: towers, an index over the catalogue, and both as one servable."""

from __future__ import annotations

from typing import NamedTuple

from tfx import v1 as tfx

from tfx_pipeline.code_version import code_version
from tfx_pipeline.components.index_builder import IndexBuilder
from tfx_pipeline.components.index_validator import IndexValidator
from tfx_pipeline.components.latest_blessed import LatestBlessed
from tfx_pipeline.components.pusher import Pusher
from tfx_pipeline.components.servable_builder import ServableBuilder
from tfx_pipeline.components.serving_validator import ServingValidator
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.evaluation.evaluator import Evaluator
from tfx_pipeline.stages.config import RetrievalConfig
from tfx_pipeline.stages.data import Data
from tfx_pipeline.stages.state import RunState
from tfx_pipeline.stages.training import training

_COMPONENTS = "tfx_pipeline.components"


class Retrieval(NamedTuple):
    """The components that train, judge and push a retrieval model."""

    latest_blessed: LatestBlessed
    trainer: tfx.components.Trainer
    index_builder: IndexBuilder
    index_validator: IndexValidator
    servable_builder: ServableBuilder
    evaluator: Evaluator
    serving_validator: ServingValidator | None
    pusher: Pusher


def retrieval(
    section: RetrievalConfig, config: PipelineConfig, state: RunState, made: Data
) -> Retrieval:
    """Makes the components of the retrieval stage.

    Args:
        section: The stage's section of the configuration.
        config: What to run.
        state: What is served.
        made: The data stage.
    """
    examples = made.example_gen.outputs["examples"]
    builders = (f"{_COMPONENTS}.index_builder", f"{_COMPONENTS}.servable_builder")
    made_of = (section.index.to_json(), *map(code_version, builders))

    # The towers: what embeds a query and what embeds a candidate.
    trained = training("retrieval", section.trainer, config, state, made, "validation", *made_of)
    towers = trained.trainer.outputs["model"]

    index_builder = IndexBuilder(
        model=towers,
        examples=examples,
        config=section.index,
        code_version=code_version(f"{_COMPONENTS}.index_builder"),
    ).with_id("index-builder")

    index_validator = IndexValidator(
        index=index_builder.outputs["index"],
        model=towers,
        examples=examples,
        config=section.index,
        code_version=code_version(f"{_COMPONENTS}.index_validator"),
    ).with_id("index-validator")

    # Towers and index in one directory: they can never disagree.
    servable_builder = ServableBuilder(
        model=towers,
        index=index_builder.outputs["index"],
        config=section.index,
        code_version=code_version(f"{_COMPONENTS}.servable_builder"),
    ).with_id("servable-builder")
    servable = servable_builder.outputs["servable"]

    evaluator = Evaluator(
        examples=examples,
        model=servable,
        baseline_model=trained.latest_blessed.outputs["model"],
        config=section.evaluation,
        code_version=code_version("tfx_pipeline.evaluation.evaluator"),
        monitor=section.trainer.validation.monitor,
    ).with_id("evaluator")

    # Asked over the wire, as it would be pushed, before it may be.
    serving_validator = None
    if section.serving_validation.enabled:
        serving_validator = ServingValidator(
            servable=servable,
            model=towers,
            examples=examples,
            config=section.serving_validation,
            name=config.model_name("retrieval"),
            push=section.push,
            code_version=code_version(f"{_COMPONENTS}.serving_validator", "serving.local_server"),
        ).with_id("serving-validator")

    pusher = Pusher(
        servable=servable,
        index_blessing=index_validator.outputs["blessing"],
        model_blessing=evaluator.outputs["blessing"],
        serving_blessing=serving_validator.outputs["blessing"] if serving_validator else None,
        evaluation=evaluator.outputs["evaluation"],
        examples=examples,
        config=section.push,
        name=config.model_name("retrieval"),
        push_dir=config.push_dir_of("retrieval"),
        release_candidate=trained.release_candidate,
        serving_state=trained.serving_state,
        code_version=code_version(f"{_COMPONENTS}.pusher"),
        run_config=config.pushed_json("retrieval"),
    ).with_id("pusher")

    return Retrieval(
        trained.latest_blessed,
        trained.trainer,
        index_builder,
        index_validator,
        servable_builder,
        evaluator,
        serving_validator,
        pusher,
    )
