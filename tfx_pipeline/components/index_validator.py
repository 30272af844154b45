"""Checks an index, and blesses it or does not."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from absl import logging
from tfx import v1 as tfx
from tfx.dsl.components.base import base_executor
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec

from serving.index.checking.validate import validate
from serving.index.config import CheckConfig
from serving.index.config import IndexConfig
from tfx_pipeline.artifacts import RetrievalIndex
from tfx_pipeline.components import locations
from tfx_pipeline.components.verdict import write_verdict


class Executor(base_executor.BaseExecutor):
    """Measures the index and writes the blessing."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the blessing and its report.

        Args:
            input_dict: `index`, `model` (the towers) and `examples` (split `validation`).
            output_dict: `blessing`.
            exec_properties: `config`, a `CheckConfig` as JSON, and `code_version`.

        Raises:
            FileNotFoundError: The index, the towers or the split's files are missing.
            IndexIntegrityError: The index is damaged, or of other towers.
            ValueError: The split holds no timeline.
        """
        config = CheckConfig.model_validate_json(exec_properties["config"])
        with tempfile.TemporaryDirectory() as scratch:
            report = validate(
                locations.directory(input_dict, "index"),
                locations.saved_model(input_dict, "model"),
                locations.record_files(input_dict, "examples", "validation"),
                config,
                Path(scratch),
            )
        [blessing] = output_dict["blessing"]
        [index] = input_dict["index"]
        write_verdict(blessing, report, "index", index)
        measured = {
            name: (round(report[name]["recall"], 5), report[name]["latency_ms"])
            for name in ("scann", "answer")
        }
        logging.info("Recall and latency of the index are %s.", measured)


class IndexValidatorSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the index validator."""

    INPUTS = {
        "index": component_spec.ChannelParameter(type=RetrievalIndex),
        "model": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.Model),
        "examples": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.Examples),
    }
    OUTPUTS = {
        "blessing": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.ModelBlessing)
    }
    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "code_version": component_spec.ExecutionParameter(type=str),
    }


class IndexValidator(tfx.types.BaseComponent):
    """Measures recall against exact search, and latency, on held-out timelines.

    The output `blessing` is a `ModelBlessing` as the Evaluator writes one: the
    file `BLESSED` or `NOT_BLESSED` and the custom property `blessed` (1 or 0);
    beside it `report.json` says what was measured and what was too bad.

    Args:
        index: The index, of type `RetrievalIndex`.
        model: The towers that it was built with, of type `Model`.
        examples: Raw timelines with the split `validation`.
        config: The index's configuration, of which this component's key in
            TFX's cache sees only what it reads.
        code_version: Hash of the sources that run here.
    """

    SPEC_CLASS = IndexValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        index: tfx.types.BaseChannel,
        model: tfx.types.BaseChannel,
        examples: tfx.types.BaseChannel,
        config: IndexConfig,
        code_version: str,
    ) -> None:
        blessing: Any = tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing)
        super().__init__(
            spec=IndexValidatorSpec(
                index=index,
                model=model,
                examples=examples,
                blessing=blessing,
                config=config.section(CheckConfig).to_json(),
                code_version=code_version,
            )
        )
