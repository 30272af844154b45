"""Learns how a servable orders the candidates of several sources."""

from __future__ import annotations

import functools
import json
from typing import Any

from absl import logging
from tfx import v1 as tfx
from tfx.dsl.components.base import base_executor
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec

from models.retrieval.catalogue_ranking import ranking_metrics
from serving.index.config import IndexConfig
from serving.index.config import ServeConfig
from serving.sources.combination import Settings
from serving.sources.combination import settings_of
from serving.sources.config import FitConfig
from serving.sources.config import SourcesConfig
from serving.sources.learning import learn_combination
from tfx_pipeline.artifacts import NeighbourLists
from tfx_pipeline.artifacts import RetrievalIndex
from tfx_pipeline.artifacts import SourceCombination
from tfx_pipeline.components import locations


class Executor(base_executor.BaseExecutor):
    """Learns the combination on the validation split and writes it."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `combination.json`.

        Args:
            input_dict: `model` (the towers), `index`, `neighbours` and `examples` (split
                `validation`).
            output_dict: `combination`.
            exec_properties: `settings`, `fit` and `serve`, a `Settings`, a `FitConfig` and a
                `ServeConfig` as JSON, `monitor`, and `code_version`.

        Raises:
            FileNotFoundError: An input is missing.
            IndexIntegrityError: The index is damaged, or of other towers.
            NeighboursIntegrityError: The neighbour lists are damaged.
            ValueError: No timeline of the split has a target.
        """
        monitor = exec_properties["monitor"]
        _, _, cut = monitor.partition("@")
        found = learn_combination(
            locations.saved_model(input_dict, "model"),
            locations.directory(input_dict, "index"),
            locations.directory(input_dict, "neighbours"),
            locations.record_files(input_dict, "examples", "validation"),
            ServeConfig.model_validate_json(exec_properties["serve"]),
            Settings.model_validate_json(exec_properties["settings"]),
            FitConfig.model_validate_json(exec_properties["fit"]),
            functools.partial(ranking_metrics, k=(int(cut),)),
            monitor,
        )
        found.write(locations.directory(output_dict, "combination"))
        [combination] = output_dict["combination"]
        chosen = json.dumps(found.report["chosen"], sort_keys=True)
        combination.set_string_custom_property("chosen", chosen)
        for group, table in found.report["validation"].items():
            measured = {name: round(metrics[monitor], 5) for name, metrics in table.items()}
            logging.info("%s of sources on validation, %s: %s.", monitor, group, measured)


class SourceCombinerSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the source combiner."""

    INPUTS = {
        "model": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.Model),
        "index": component_spec.ChannelParameter(type=RetrievalIndex),
        "neighbours": component_spec.ChannelParameter(type=NeighbourLists),
        "examples": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.Examples),
    }
    OUTPUTS = {"combination": component_spec.ChannelParameter(type=SourceCombination)}
    PARAMETERS = {
        "settings": component_spec.ExecutionParameter(type=str),
        "fit": component_spec.ExecutionParameter(type=str),
        "serve": component_spec.ExecutionParameter(type=str),
        "monitor": component_spec.ExecutionParameter(type=str),
        "code_version": component_spec.ExecutionParameter(type=str),
    }


class SourceCombiner(tfx.types.BaseComponent):
    """Learns a combination of the sources' scores on the validation split.

    The output `combination` is a `SourceCombination`.

    Args:
        model: The towers, of type `Model`.
        index: The index that was built with them, of type `RetrievalIndex`.
        neighbours: Neighbour lists of the training events, of type `NeighbourLists`.
        examples: Raw timelines with the split `validation`.
        config: Where candidates come from and how their combination is learned.
        serve: How the servable searches, and what it excludes.
        monitor: The metric that decides between all sources and a single one, e.g. `ndcg@10`.
        code_version: Hash of the sources that run here.
    """

    SPEC_CLASS = SourceCombinerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: tfx.types.BaseChannel,
        index: tfx.types.BaseChannel,
        neighbours: tfx.types.BaseChannel,
        examples: tfx.types.BaseChannel,
        config: SourcesConfig,
        serve: IndexConfig,
        monitor: str,
        code_version: str,
    ) -> None:
        combination: Any = tfx.dsl.Channel(type=SourceCombination)
        super().__init__(
            spec=SourceCombinerSpec(
                model=model,
                index=index,
                neighbours=neighbours,
                examples=examples,
                combination=combination,
                settings=settings_of(config).to_json(),
                fit=config.fit.to_json(),
                serve=serve.section(ServeConfig).to_json(),
                monitor=monitor,
                code_version=code_version,
            )
        )
