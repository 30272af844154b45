"""Pusher: one blessed, complete, versioned directory for TF Serving."""

from __future__ import annotations

from typing import Any

# What runs in this component, for `code_version`.
SOURCES = (
    "serving.client.protos",
    "serving.client.tensors",
    "serving.index.records",
    "tfx_pipeline.components.locations",
    "tfx_pipeline.components.pusher",
    "tfx_pipeline.evaluation.report",
    "transforms.features",
)

__all__ = ["SOURCES", "Pusher"]


def __getattr__(name: str) -> Any:
    """Imports TFX when the component is asked for, and not with the configuration."""
    if name == "Pusher":
        from tfx_pipeline.components.pusher import component

        return component.Pusher
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
