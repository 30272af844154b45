"""Assembles towers, index and more sources of candidates into one servable."""

from __future__ import annotations

from typing import Any

from absl import logging
from tfx import v1 as tfx
from tfx.dsl.components.base import base_executor
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec
from tfx.utils import path_utils

from serving.index.config import IndexConfig
from serving.index.config import ServeConfig
from serving.index.searching.assemble import write_servable
from tfx_pipeline.artifacts import NeighbourLists
from tfx_pipeline.artifacts import RetrievalIndex
from tfx_pipeline.artifacts import SourceCombination
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
            input_dict: `model` (the towers) and `index`; with more sources than the tower
                `neighbours` and `combination`.
            output_dict: `servable`.
            exec_properties: `config`, a `ServeConfig` as JSON, and `code_version`.

        Raises:
            FileNotFoundError: The towers or the index are missing.
            IndexIntegrityError: The index is damaged, or of other towers.
            NeighboursIntegrityError: The neighbour lists are damaged.
            CombinationError: The combination does not belong to the others.
            ValueError: The towers lack a signature.
        """
        sources = [
            locations.directory(input_dict, name) if input_dict.get(name) else None
            for name in ("neighbours", "combination")
        ]
        written = write_servable(
            locations.saved_model(input_dict, "model"),
            locations.directory(input_dict, "index"),
            path_utils.serving_model_dir(str(locations.directory(output_dict, "servable"))),
            ServeConfig.model_validate_json(exec_properties["config"]),
            *sources,
        )
        [servable] = output_dict["servable"]
        servable.set_string_custom_property("backend", written["backend"])
        logging.info("The servable searches with %s: %s.", written["backend"], written["reason"])


class ServableBuilderSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the servable builder."""

    INPUTS = {
        "model": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.Model),
        "index": component_spec.ChannelParameter(type=RetrievalIndex),
        "neighbours": component_spec.ChannelParameter(type=NeighbourLists, optional=True),
        "combination": component_spec.ChannelParameter(type=SourceCombination, optional=True),
    }
    OUTPUTS = {"servable": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.Model)}
    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "code_version": component_spec.ExecutionParameter(type=str),
    }


class ServableBuilder(tfx.types.BaseComponent):
    """Assembles towers and index into one SavedModel of stock operations.

    The output `servable` is a `Model`; its serving directory holds the
    SavedModel, `servable.json`, the index in `index/` and other sources in `sources/`.

    Args:
        model: The towers, of type `Model`.
        index: The index that was built with them, of type `RetrievalIndex`.
        config: The index's configuration, of which this component's key in
            TFX's cache sees only what it reads.
        code_version: Hash of the sources that run here.
        neighbours: Neighbour lists, of type `NeighbourLists`; None for the tower alone.
        combination: How the sources are joined, of type `SourceCombination`, learned with
            all of the others.
    """

    SPEC_CLASS = ServableBuilderSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: tfx.types.BaseChannel,
        index: tfx.types.BaseChannel,
        config: IndexConfig,
        code_version: str,
        neighbours: tfx.types.BaseChannel | None = None,
        combination: tfx.types.BaseChannel | None = None,
    ) -> None:
        servable: Any = tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model)
        super().__init__(
            spec=ServableBuilderSpec(
                model=model,
                index=index,
                neighbours=neighbours,
                combination=combination,
                servable=servable,
                config=config.section(ServeConfig).to_json(),
                code_version=code_version,
            )
        )
