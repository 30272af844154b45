"""The pipeline: one definition, for every runner."""

from __future__ import annotations

from typing import Any

from tfx import v1 as tfx

from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.stages.data import data
from tfx_pipeline.stages.ranking import ranking
from tfx_pipeline.stages.representation import representation
from tfx_pipeline.stages.retrieval import retrieval
from tfx_pipeline.stages.state import RunState


def create_components(config: PipelineConfig, state: RunState) -> list[Any]:
    """Makes the components of every stage of a configuration, joined.

    It reads neither the event log nor a push directory, which may lie where only the run
    can look, and knows no runner.

    Args:
        config: What to run, resolved.
        state: What the event log and the push directories hold (`read_state`).
    """
    made = data(config, state, features=representation(config, state))
    components: list[Any] = [*made.components]
    if config.retrieval:
        components += retrieval(config.retrieval, config, state, made)
    if config.ranking:
        components += ranking(config.ranking, config, state, made)
    return [component for component in components if component is not None]


def create_pipeline(
    config: PipelineConfig,
    state: RunState,
    pipeline_root: str,
    metadata_connection_config: Any = None,
) -> tfx.dsl.Pipeline:
    """Puts the stages of a configuration together.

    Args:
        config: As of `create_components`.
        state: Likewise.
        pipeline_root: Where artifacts go.
        metadata_connection_config: ML Metadata's database, for local runners.

    Returns:
        The pipeline, ready for `LocalDagRunner`; `tfx_pipeline.runners.kubeflow` compiles one.
    """
    return tfx.dsl.Pipeline(
        pipeline_name=config.name,
        pipeline_root=pipeline_root,
        components=create_components(config, state),
        enable_cache=config.enable_cache,
        metadata_connection_config=metadata_connection_config,
        beam_pipeline_args=list(config.beam_pipeline_args),
    )
