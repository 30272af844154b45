"""Runs the serving validator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from absl import logging
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_executor

from tfx_pipeline.components import locations
from tfx_pipeline.components.serving_validator.config import ServingValidationConfig
from tfx_pipeline.components.serving_validator.validate import validate

REPORT = "report.json"
SERVER_LOG = "server.log"


class Executor(base_executor.BaseExecutor):
    """Asks the candidate through a server and writes the blessing."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the blessing, its report and the server's log.

        Args:
            input_dict: `servable`, `model` (the towers) and `examples` (split `test`).
            output_dict: `blessing`.
            exec_properties: `config`, a `ServingValidationConfig` as JSON, `name`,
                `warmup_requests` and `code_version`.

        Raises:
            FileNotFoundError: The towers or the split's files are missing.
            RuntimeError: The server could not be started, or ended by itself.
            ServingError: The server cannot be reached, or has no such model.
        """
        [blessing] = output_dict["blessing"]
        folder = Path(blessing.uri)
        folder.mkdir(parents=True, exist_ok=True)
        report = validate(
            locations.saved_model(input_dict, "servable"),
            locations.saved_model(input_dict, "model"),
            locations.record_files(input_dict, "examples", "test"),
            ServingValidationConfig.model_validate_json(exec_properties["config"]),
            exec_properties["name"],
            exec_properties["warmup_requests"],
            folder / SERVER_LOG,
        )
        text = json.dumps(report, indent=1) + "\n"
        (folder / REPORT).write_text(text, encoding="utf-8")
        [servable] = input_dict["servable"]
        blessing.set_string_custom_property("current_model", servable.uri)
        blessing.set_int_custom_property("current_model_id", servable.id)
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
    if good:
        logging.info("The servable is blessed; its latency is %s ms.", report["latency_ms"])
    else:
        logging.error("The servable is not blessed: %s.", "; ".join(report["reasons"]))
