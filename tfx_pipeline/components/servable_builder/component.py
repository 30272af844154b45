"""Declares the servable builder."""

from __future__ import annotations

from typing import Any

from tfx import v1 as tfx
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec

from serving.index.config import IndexConfig
from serving.index.config import ServeConfig
from tfx_pipeline.artifacts import RetrievalIndex
from tfx_pipeline.components.servable_builder.executor import Executor


class ServableBuilderSpec(component_spec.ComponentSpec):
    """What the servable builder reads and writes."""

    INPUTS = {
        "model": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.Model),
        "index": component_spec.ChannelParameter(type=RetrievalIndex),
    }
    OUTPUTS = {"servable": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.Model)}
    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "code_version": component_spec.ExecutionParameter(type=str),
    }


class ServableBuilder(tfx.types.BaseComponent):
    """Assembles towers and index into one SavedModel of stock operations.

    The output `servable` is a `Model`; its serving directory holds the
    SavedModel, `servable.json` and the index in `index/`.

    Args:
        model: The towers, of type `Model`.
        index: The index that was built with them, of type `RetrievalIndex`.
        config: The index's configuration, of which this component's key in
            TFX's cache sees only what it reads.
        code_version: Hash of the sources that run here.
    """

    SPEC_CLASS = ServableBuilderSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: tfx.types.BaseChannel,
        index: tfx.types.BaseChannel,
        config: IndexConfig,
        code_version: str,
    ) -> None:
        servable: Any = tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model)
        super().__init__(
            spec=ServableBuilderSpec(
                model=model,
                index=index,
                servable=servable,
                config=config.section(ServeConfig).to_json(),
                code_version=code_version,
            )
        )
