"""The TFX component and its executor."""

from __future__ import annotations

from typing import Any

from absl import logging
from tfx import v1 as tfx
from tfx.dsl.components.base import base_executor
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec

from serving.sources.config import ListCheckConfig
from serving.sources.config import NeighboursConfig
from tfx_pipeline.artifacts import NeighbourLists
from tfx_pipeline.components import locations
from tfx_pipeline.components.neighbour_validator.validate import validate
from tfx_pipeline.components.verdict import write_verdict


class Executor(base_executor.BaseExecutor):
    """Holds neighbour lists against the training timelines and writes the blessing."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the blessing and its report.

        Args:
            input_dict: `neighbours` and `examples` (split `train`).
            output_dict: `blessing`.
            exec_properties: `config`, a `ListCheckConfig` as JSON, and `code_version`.

        Raises:
            FileNotFoundError: The lists or the split's files are missing.
            NeighboursIntegrityError: The lists are damaged.
        """
        report = validate(
            locations.directory(input_dict, "neighbours"),
            locations.record_files(input_dict, "examples", "train"),
            ListCheckConfig.model_validate_json(exec_properties["config"]),
        )
        [blessing] = output_dict["blessing"]
        [neighbours] = input_dict["neighbours"]
        write_verdict(blessing, report, "neighbours", neighbours)
        measured = {name: report[name] for name in ("recall", "weight_error", "coverage")}
        logging.info("A recount of neighbour lists found %s.", measured)


class NeighbourValidatorSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the neighbour validator."""

    INPUTS = {
        "neighbours": component_spec.ChannelParameter(type=NeighbourLists),
        "examples": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.Examples),
    }
    OUTPUTS = {
        "blessing": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.ModelBlessing)
    }
    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "code_version": component_spec.ExecutionParameter(type=str),
    }


class NeighbourValidator(tfx.types.BaseComponent):
    """Counts the lists of some entities again, plainly, and compares.

    The output `blessing` is a `ModelBlessing` as the index validator writes one; beside the
    verdict `report.json` says what was measured and what was too bad.

    Args:
        neighbours: The lists, of type `NeighbourLists`.
        examples: Raw timelines with the split `train`, which the lists were counted in.
        config: The section of the configuration, of which this component's key in TFX's
            cache sees only what it reads.
        code_version: Hash of the sources that run here.
    """

    SPEC_CLASS = NeighbourValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        neighbours: tfx.types.BaseChannel,
        examples: tfx.types.BaseChannel,
        config: NeighboursConfig,
        code_version: str,
    ) -> None:
        blessing: Any = tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing)
        super().__init__(
            spec=NeighbourValidatorSpec(
                neighbours=neighbours,
                examples=examples,
                blessing=blessing,
                config=config.section(ListCheckConfig).to_json(),
                code_version=code_version,
            )
        )
