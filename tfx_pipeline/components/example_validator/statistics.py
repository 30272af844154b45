"""Statistics of timelines, which the validator reads."""

from __future__ import annotations

from typing import Any

import tensorflow_data_validation as tfdv
from tfx import types
from tfx.components.statistics_gen import executor as tfx_executor
from tfx.dsl.components.base import base_beam_component
from tfx.dsl.components.base import executor_spec
from tfx.types import Artifact
from tfx.types import standard_artifacts
from tfx.types import standard_component_specs as keys
from tfx.types.component_spec import ExecutionParameter
from tfx.utils import json_utils

from tfx_pipeline.components.record_batches import bound_batches


def statistics_options() -> tfdv.StatsOptions:
    """Returns options for `StatisticsGen` that suit ragged timelines.

    The schema is not among them: as an option it would be serialised in an
    order that changes from process to process, and TFX's cache would never
    answer. Give `StatisticsGen` the schema's channel beside these options.

    Returns:
        Options with short histograms, as validation needs no more.
    """
    return tfdv.StatsOptions(num_rank_histogram_buckets=100, num_top_values=20)


class Executor(tfx_executor.Executor):
    """TFX's executor, which reads timelines in batches of bounded size."""

    def Do(  # noqa: N802  (TFX's name)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Computes statistics; arguments are those of TFX's executor."""
        bound_batches()
        super().Do(input_dict, output_dict, exec_properties)


class TimelineStatisticsGenSpec(keys.StatisticsGenSpec):
    """The specification of TFX's StatisticsGen, and the version of the code."""

    PARAMETERS = {
        **keys.StatisticsGenSpec.PARAMETERS,
        "code_version": ExecutionParameter(type=str),
    }


class TimelineStatisticsGen(base_beam_component.BaseBeamComponent):
    """TFX's StatisticsGen whose cache sees which libraries count.

    Args:
        examples: `Examples` of raw timelines.
        schema: `Schema`, from `CuratedSchemaGen`.
        code_version: Hash of the code and versions of the libraries that it runs.
    """

    SPEC_CLASS = TimelineStatisticsGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self, examples: types.BaseChannel, schema: types.BaseChannel, code_version: str = ""
    ) -> None:
        super().__init__(
            spec=TimelineStatisticsGenSpec(
                examples=examples,
                schema=schema,
                stats_options_json=statistics_options().to_json(),
                exclude_splits=json_utils.dumps([]),
                code_version=code_version,
                statistics=types.Channel(type=standard_artifacts.ExampleStatistics),
            )
        )
