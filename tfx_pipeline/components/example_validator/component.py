"""The validator: TFX's ExampleValidator whose anomalies stop the run."""

from __future__ import annotations

from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import base_component
from tfx.dsl.components.base import executor_spec
from tfx.types import standard_artifacts
from tfx.types import standard_component_specs as keys
from tfx.types.component_spec import ChannelParameter
from tfx.types.component_spec import ComponentSpec
from tfx.types.component_spec import ExecutionParameter
from tfx.utils import json_utils

from tfx_pipeline.components.example_validator.executor import Executor


class TimelineExampleValidatorSpec(ComponentSpec):
    """Inputs, outputs and execution properties of the validator."""

    PARAMETERS = {
        keys.EXCLUDE_SPLITS_KEY: ExecutionParameter(type=str),
        "code_version": ExecutionParameter(type=str),
    }
    INPUTS = {
        keys.STATISTICS_KEY: ChannelParameter(type=standard_artifacts.ExampleStatistics),
        keys.SCHEMA_KEY: ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {keys.ANOMALIES_KEY: ChannelParameter(type=standard_artifacts.ExampleAnomalies)}


class TimelineExampleValidator(base_component.BaseComponent):
    """Stops the run when examples do not fit the schema.

    Each split is validated in its schema environment (training timelines have
    no target, held-out ones have, catalogue rows are something else). On any
    anomaly, and on a split without examples, the component writes the
    `anomalies` artifact and fails with an error that names split, feature,
    anomaly and what to do. What must not run on bad data comes after it
    (`add_upstream_node`).

    Args:
        statistics: `ExampleStatistics` of the splits, from `StatisticsGen`.
        schema: `Schema`, from `CuratedSchemaGen`.
        exclude_splits: Splits that are not validated.
        code_version: Hash of the code that it runs, so that TFX's cache sees it.
    """

    SPEC_CLASS = TimelineExampleValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        statistics: types.BaseChannel,
        schema: types.BaseChannel,
        exclude_splits: Sequence[str] = (),
        code_version: str = "",
    ) -> None:
        super().__init__(
            spec=TimelineExampleValidatorSpec(
                statistics=statistics,
                schema=schema,
                exclude_splits=json_utils.dumps(list(exclude_splits)),
                code_version=code_version,
                anomalies=types.Channel(type=standard_artifacts.ExampleAnomalies),
            )
        )
