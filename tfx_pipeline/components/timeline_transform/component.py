"""The component: TFX's Transform with an executor of ours."""

from __future__ import annotations

from tfx import v1 as tfx
from tfx.dsl.components.base import executor_spec

from tfx_pipeline.components.timeline_transform.executor import Executor


class TimelineTransform(tfx.components.Transform):
    """Analyses timelines as TFX's Transform does, and applies the graph file by file.

    Arguments, artifacts and their contents are those of `tfx.v1.components.Transform`;
    transformed files have the names of the raw ones, and records keep their order. The
    outputs of `preprocessing_fn` have to be ragged.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
