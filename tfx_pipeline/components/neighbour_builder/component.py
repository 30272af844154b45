"""The TFX component and its executor."""

from __future__ import annotations

from typing import Any

from tfx import v1 as tfx
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec

from serving.sources.config import CountingConfig
from serving.sources.config import NeighboursConfig
from tfx_pipeline.artifacts import NeighbourLists
from tfx_pipeline.components import locations
from tfx_pipeline.components.neighbour_builder.job import build


class Executor(base_beam_executor.BaseBeamExecutor):
    """Counts on Beam and writes the neighbour lists."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the neighbour lists.

        Args:
            input_dict: `examples` (splits `train`, `catalogue`).
            output_dict: `neighbours`.
            exec_properties: `config`, a `CountingConfig` as JSON, and `code_version`.

        Raises:
            FileNotFoundError: A split's files are missing.
            ValueError: There is no event to count.
        """
        info = build(
            locations.record_files(input_dict, "examples", "train"),
            locations.record_files(input_dict, "examples", "catalogue"),
            locations.directory(output_dict, "neighbours"),
            CountingConfig.model_validate_json(exec_properties["config"]),
            self._make_beam_pipeline,
        )
        [neighbours] = output_dict["neighbours"]
        for name, count in info["counts"].items():
            neighbours.set_int_custom_property(name, count)
        neighbours.set_string_custom_property("sha256", info["sha256"])


class NeighbourBuilderSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the neighbour builder."""

    INPUTS = {
        "examples": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.Examples)
    }
    OUTPUTS = {"neighbours": component_spec.ChannelParameter(type=NeighbourLists)}
    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "code_version": component_spec.ExecutionParameter(type=str),
    }


class NeighbourBuilder(tfx.types.BaseBeamComponent):
    """Counts on Beam what is consumed together, and in what order.

    The output `neighbours` is a `NeighbourLists`; its custom properties are the counts and
    the hash of the table.

    Args:
        examples: Raw timelines with the splits `train` and `catalogue`.
        config: The section of the configuration, of which this component's key in TFX's
            cache sees only what it reads.
        code_version: Hash of the sources that run here.
    """

    SPEC_CLASS = NeighbourBuilderSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self, examples: tfx.types.BaseChannel, config: NeighboursConfig, code_version: str
    ) -> None:
        neighbours: Any = tfx.dsl.Channel(type=NeighbourLists)
        super().__init__(
            spec=NeighbourBuilderSpec(
                examples=examples,
                neighbours=neighbours,
                config=config.section(CountingConfig).to_json(),
                code_version=code_version,
            )
        )
