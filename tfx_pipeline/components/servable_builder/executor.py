"""Runs the servable builder."""

from __future__ import annotations

from typing import Any

from absl import logging
from tfx.dsl.components.base import base_executor
from tfx.utils import path_utils

from serving.index.config import ServeConfig
from serving.index.searching.servable import write_servable
from tfx_pipeline.components import locations


class Executor(base_executor.BaseExecutor):
    """Writes the servable where TFX looks for a serving model."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the servable.

        Args:
            input_dict: `model` (the towers) and `index`.
            output_dict: `servable`.
            exec_properties: `config`, a `ServeConfig` as JSON, and `code_version`.

        Raises:
            FileNotFoundError: The towers or the index are missing.
            IndexIntegrityError: The index is damaged, or of other towers.
            ValueError: The towers lack a signature.
        """
        written = write_servable(
            locations.saved_model(input_dict, "model"),
            locations.directory(input_dict, "index"),
            path_utils.serving_model_dir(str(locations.directory(output_dict, "servable"))),
            ServeConfig.model_validate_json(exec_properties["config"]),
        )
        [servable] = output_dict["servable"]
        servable.set_string_custom_property("backend", written["backend"])
        logging.info("The servable searches with %s: %s.", written["backend"], written["reason"])
