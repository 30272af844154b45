"""Runs the serving validator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import logging
from tfx.dsl.components.base import base_executor

from serving.publishing.config import PusherConfig
from tfx_pipeline.components import locations
from tfx_pipeline.components.serving_validator.config import ServingValidationConfig
from tfx_pipeline.components.serving_validator.validate import validate
from tfx_pipeline.components.verdict import write_verdict

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
                `push`, a `PusherConfig` as JSON, and `code_version`.

        Raises:
            FileNotFoundError: The towers or the split's files are missing.
            RuntimeError: The server could not be started, ended by itself, or gave
                no answer in time.
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
            PusherConfig.model_validate_json(exec_properties["push"]),
            folder / SERVER_LOG,
        )
        [servable] = input_dict["servable"]
        write_verdict(blessing, report, "model", servable)
        logging.info("Latency of the servable over gRPC is %s ms.", report["latency_ms"])
