"""The pipeline: one definition, for every runner."""

from __future__ import annotations

from typing import Any
from typing import NamedTuple

from tfx import v1 as tfx

from serving.publishing.origin import candidate_id
from serving.publishing.origin import serving_state
from tfx_pipeline.code_version import code_version
from tfx_pipeline.components.example_validator import CuratedSchemaGen
from tfx_pipeline.components.example_validator import TimelineExampleValidator
from tfx_pipeline.components.example_validator import TimelineStatisticsGen
from tfx_pipeline.components.index_builder import IndexBuilder
from tfx_pipeline.components.index_validator import IndexValidator
from tfx_pipeline.components.latest_blessed import LatestBlessed
from tfx_pipeline.components.pusher import Pusher
from tfx_pipeline.components.servable_builder import ServableBuilder
from tfx_pipeline.components.serving_validator import ServingValidator
from tfx_pipeline.components.timeline_example_gen.component import TimelineExampleGen
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.evaluation.evaluator import Evaluator

COMPONENTS = "tfx_pipeline.components"


class DataComponents(NamedTuple):
    """The components that make transformed timelines of an event log."""

    example_gen: TimelineExampleGen
    schema_gen: CuratedSchemaGen
    statistics_gen: TimelineStatisticsGen
    example_validator: TimelineExampleValidator
    transform: tfx.components.Transform


def data_components(config: PipelineConfig) -> DataComponents:
    """Makes the first components of the pipeline, up to Transform."""
    # One example a user, and the catalogue as a split beside them.
    example_gen = TimelineExampleGen(
        log_dir=config.log_dir,
        config=config.timeline,
        code_version=code_version(f"{COMPONENTS}.timeline_example_gen"),
    ).with_id("timeline-example-gen")

    schema_gen = CuratedSchemaGen(
        code_version=code_version(f"{COMPONENTS}.example_validator.schema_gen")
    ).with_id("curated-schema-gen")

    statistics_gen = TimelineStatisticsGen(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        code_version=code_version(f"{COMPONENTS}.example_validator.statistics"),
    ).with_id("statistics-gen")

    # Anomalies stop the run with their names.
    example_validator = TimelineExampleValidator(
        statistics=statistics_gen.outputs["statistics"],
        schema=schema_gen.outputs["schema"],
        code_version=code_version(f"{COMPONENTS}.example_validator"),
    ).with_id("example-validator")

    transform = tfx.components.Transform(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        preprocessing_fn="transforms.preprocessing.preprocessing_fn",
        splits_config=tfx.proto.SplitsConfig(
            analyze=["train", "catalogue"], transform=config.timeline.splits
        ),
        custom_config=_custom_config(config.transform, "transforms.preprocessing", "tfx"),
        disable_analyzer_cache=True,  # a log has no spans whose analyses could be kept
        disable_statistics=True,
    ).with_id("transform")
    transform.add_upstream_node(example_validator)
    return DataComponents(example_gen, schema_gen, statistics_gen, example_validator, transform)


def create_pipeline(
    config: PipelineConfig, pipeline_root: str, metadata_connection_config: Any = None
) -> tfx.dsl.Pipeline:
    """Assembles the pipeline; pure, and knows no runner.

    Args:
        config: What to run, resolved.
        pipeline_root: Where artifacts go.
        metadata_connection_config: ML Metadata's database, for local runners.

    Returns:
        The pipeline, ready for `LocalDagRunner` or a compiler.
    """
    data = data_components(config)
    example_gen, schema_gen, transform = data.example_gen, data.schema_gen, data.transform

    # What is served decides what a candidate is compared with: the cache has to see it.
    trainer_config = {
        "stage": "retrieval",
        **_custom_config(config.trainer, "models.trainer", "tfx"),
    }
    builders = (f"{COMPONENTS}.index_builder", f"{COMPONENTS}.servable_builder")
    candidate = candidate_id(
        (example_gen, schema_gen, transform),
        *trainer_config.values(),
        config.index.to_json(),
        *map(code_version, builders),
    )
    state = serving_state(config.serving_base_path, candidate)
    latest_blessed = LatestBlessed(
        examples=example_gen.outputs["examples"],
        push_dir=config.serving_base_path,
        candidate=candidate,
        serving_state=state,
        code_version=code_version(f"{COMPONENTS}.latest_blessed"),
    ).with_id("latest-blessed")

    # The towers: what embeds a query and what embeds a candidate.
    trainer = tfx.components.Trainer(
        run_fn="models.trainer.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema_gen.outputs["schema"],
        train_args=tfx.proto.TrainArgs(splits=["train", "catalogue"]),
        eval_args=tfx.proto.EvalArgs(splits=["validation"]),
        base_model=latest_blessed.outputs["model"] if config.trainer.warm_start else None,
        custom_config=trainer_config,
    ).with_id("trainer")

    index_builder = IndexBuilder(
        model=trainer.outputs["model"],
        examples=example_gen.outputs["examples"],
        config=config.index,
        code_version=code_version(f"{COMPONENTS}.index_builder"),
    ).with_id("index-builder")

    index_validator = IndexValidator(
        index=index_builder.outputs["index"],
        model=trainer.outputs["model"],
        examples=example_gen.outputs["examples"],
        config=config.index,
        code_version=code_version(f"{COMPONENTS}.index_validator"),
    ).with_id("index-validator")

    # Towers and index in one directory: they can never disagree.
    servable_builder = ServableBuilder(
        model=trainer.outputs["model"],
        index=index_builder.outputs["index"],
        config=config.index,
        code_version=code_version(f"{COMPONENTS}.servable_builder"),
    ).with_id("servable-builder")

    evaluator = Evaluator(
        examples=example_gen.outputs["examples"],
        model=servable_builder.outputs["servable"],
        baseline_model=latest_blessed.outputs["model"],
        config=config.evaluation,
        code_version=code_version("tfx_pipeline.evaluation.evaluator"),
        monitor=config.trainer.validation.monitor,
    ).with_id("evaluator")

    # Asked over the wire, as it would be pushed, before it may be.
    serving_validator = None
    if config.serving_validation.enabled:
        serving_validator = ServingValidator(
            servable=servable_builder.outputs["servable"],
            model=trainer.outputs["model"],
            examples=example_gen.outputs["examples"],
            config=config.serving_validation,
            name=config.name,
            push=config.push,
            code_version=code_version(f"{COMPONENTS}.serving_validator", "serving.local_server"),
        ).with_id("serving-validator")

    pusher = Pusher(
        servable=servable_builder.outputs["servable"],
        index_blessing=index_validator.outputs["blessing"],
        model_blessing=evaluator.outputs["blessing"],
        serving_blessing=serving_validator.outputs["blessing"] if serving_validator else None,
        evaluation=evaluator.outputs["evaluation"],
        examples=example_gen.outputs["examples"],
        config=config.push,
        push_dir=config.serving_base_path,
        candidate=candidate,
        serving_state=state,
        code_version=code_version(f"{COMPONENTS}.pusher"),
        run_config=config.pushed_json(),
    ).with_id("pusher")

    return tfx.dsl.Pipeline(
        pipeline_name=config.name,
        pipeline_root=pipeline_root,
        components=[
            *data,
            latest_blessed,
            trainer,
            index_builder,
            index_validator,
            servable_builder,
            evaluator,
            *([serving_validator] if serving_validator else []),
            pusher,
        ],
        enable_cache=config.enable_cache,
        metadata_connection_config=metadata_connection_config,
        beam_pipeline_args=list(config.beam_pipeline_args),
    )


def _custom_config(section: Any, *packages: str) -> dict[str, str]:
    """Returns a section and the version of what reads it, for the cache to see."""
    return {"config": section.to_json(), "code_version": code_version(*packages)}
