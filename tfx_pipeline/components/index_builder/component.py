"""Declares the index builder."""

from __future__ import annotations

from typing import Any

from tfx import v1 as tfx
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec

from serving.index.config import BuildConfig
from serving.index.config import IndexConfig
from tfx_pipeline.artifacts import RetrievalIndex
from tfx_pipeline.components.index_builder.executor import Executor


class IndexBuilderSpec(component_spec.ComponentSpec):
    """What the index builder reads and writes."""

    INPUTS = {
        "model": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.Model),
        "examples": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.Examples),
    }
    OUTPUTS = {"index": component_spec.ChannelParameter(type=RetrievalIndex)}
    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "code_version": component_spec.ExecutionParameter(type=str),
    }


class IndexBuilder(tfx.types.BaseBeamComponent):
    """Embeds the catalogue on Beam and builds the ScaNN index over it.

    The output `index` is a `RetrievalIndex`.

    Args:
        model: The towers, of type `Model`.
        examples: Raw timelines with the splits `train` and `catalogue`.
        config: The index's configuration, of which this component's key in
            TFX's cache sees only what it reads.
        code_version: Hash of the sources that run here.
    """

    SPEC_CLASS = IndexBuilderSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        model: tfx.types.BaseChannel,
        examples: tfx.types.BaseChannel,
        config: IndexConfig,
        code_version: str,
    ) -> None:
        index: Any = tfx.dsl.Channel(type=RetrievalIndex)
        super().__init__(
            spec=IndexBuilderSpec(
                model=model,
                examples=examples,
                index=index,
                config=config.section(BuildConfig).to_json(),
                code_version=code_version,
            )
        )
