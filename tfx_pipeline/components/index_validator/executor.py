"""Runs the index validator."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from absl import logging
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_executor

from serving.index.config import CheckConfig
from serving.index.validate import validate
from tfx_pipeline.components import locations

REPORT = "report.json"


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
        folder = Path(blessing.uri)
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(report, indent=1, sort_keys=True) + "\n"
        (folder / REPORT).write_text(text, encoding="utf-8")
        [index] = input_dict["index"]
        blessing.set_string_custom_property("current_index", index.uri)
        blessing.set_int_custom_property("current_index_id", index.id)
        bless(blessing, folder, report)


def bless(blessing: Any, folder: Path, report: dict[str, Any]) -> None:
    """Writes the verdict of `report` into the directory and onto the artifact."""
    good = bool(report["blessed"])
    name = constants.BLESSED_FILE_NAME if good else constants.NOT_BLESSED_FILE_NAME
    (folder / name).touch()
    blessing.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_BLESSED_KEY,
        constants.BLESSED_VALUE if good else constants.NOT_BLESSED_VALUE,
    )
    measured = {
        name: (round(report[name]["recall"], 5), report[name]["latency_ms"])
        for name in ("scann", "answer")
    }
    if good:
        logging.info("The index is blessed: recall and latency are %s.", measured)
    else:
        logging.error("The index is not blessed: %s.", "; ".join(report["reasons"]))
