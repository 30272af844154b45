"""Runs the index validator."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from absl import logging
from tfx.dsl.components.base import base_executor

from serving.index.checking.validate import validate
from serving.index.config import CheckConfig
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
