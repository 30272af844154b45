"""The data stage: transformed timelines of an event log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

from tfx import v1 as tfx

from tfx_pipeline.code_version import code_version
from tfx_pipeline.components.example_validator import CuratedSchemaGen
from tfx_pipeline.components.example_validator import TimelineExampleValidator
from tfx_pipeline.components.example_validator import TimelineStatisticsGen
from tfx_pipeline.components.timeline_example_gen.component import TimelineExampleGen
from tfx_pipeline.components.timeline_transform import TimelineTransform
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.stages.state import RunState
from tfx_pipeline.stages.table import STAGES
from tfx_pipeline.stages.table import TRAINING_SPLITS

_COMPONENTS = "tfx_pipeline.components"


class Data(NamedTuple):
    """The components that make transformed timelines of an event log.

    Attributes:
        features: What makes declared fields that are not in the log (`stages.representation`).
    """

    example_gen: TimelineExampleGen
    schema_gen: CuratedSchemaGen
    statistics_gen: TimelineStatisticsGen
    example_validator: TimelineExampleValidator
    transform: TimelineTransform
    features: tuple[Any, ...] = ()

    @property
    def components(self) -> tuple[Any, ...]:
        """All of them."""
        own = (self.example_gen, self.schema_gen, self.statistics_gen, self.example_validator)
        return (*self.features, *own, self.transform)


def data(
    config: PipelineConfig,
    state: RunState,
    splits: Sequence[str] = (),
    features: tuple[Any, ...] = (),
    prefix: str = "",
) -> Data:
    """Makes the components that every other stage reads from.

    Args:
        config: What to run.
        state: Holds the fingerprint of the event log.
        splits: Splits that Transform writes; by default those that Trainers read.
            Whatever else reads examples takes raw ones.
        features: Components of which the last gives tables of declared fields as `features`.
        prefix: Of the components' ids.
    """
    # Of every stage that the examples are for, so that to add one trains no other again.
    validation = [entry.validation_split for entry in STAGES.values()]
    validation = [name for name in validation if name in config.timeline.splits]
    # One example a user, and the catalogue as a split beside them.
    example_gen = TimelineExampleGen(
        log_dir=config.log_dir,
        config=config.timeline,
        code_version=code_version(f"{_COMPONENTS}.timeline_example_gen"),
        input_fingerprint=state.log,
        features=features[-1].outputs["features"] if features else None,
    ).with_id(f"{prefix}timeline-example-gen")

    schema_gen = CuratedSchemaGen(
        code_version=code_version(f"{_COMPONENTS}.example_validator.schema_gen"),
        fields=config.timeline.catalogue_fields,
    ).with_id(f"{prefix}curated-schema-gen")

    statistics_gen = TimelineStatisticsGen(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        code_version=code_version(f"{_COMPONENTS}.example_validator.statistics"),
    ).with_id(f"{prefix}statistics-gen")

    # Anomalies stop the run with their names.
    example_validator = TimelineExampleValidator(
        statistics=statistics_gen.outputs["statistics"],
        schema=schema_gen.outputs["schema"],
        code_version=code_version(f"{_COMPONENTS}.example_validator"),
    ).with_id(f"{prefix}example-validator")

    transform = TimelineTransform(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        preprocessing_fn="transforms.preprocessing.preprocessing_fn",
        splits_config=tfx.proto.SplitsConfig(
            analyze=["train", "catalogue"], transform=splits or [*TRAINING_SPLITS, *validation]
        ),
        custom_config={
            "config": config.transform.to_json(),
            "code_version": code_version(
                "transforms.preprocessing", f"{_COMPONENTS}.timeline_transform", "tfx"
            ),
        },
        disable_analyzer_cache=True,  # a log has no spans whose analyses could be kept
        disable_statistics=True,
    ).with_id(f"{prefix}transform")
    transform.add_upstream_node(example_validator)
    return Data(example_gen, schema_gen, statistics_gen, example_validator, transform, features)
