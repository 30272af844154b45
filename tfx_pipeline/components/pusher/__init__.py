"""Pusher: one blessed, complete, versioned directory for TF Serving."""

from __future__ import annotations

from typing import Any

__all__ = ["Pusher"]


def __getattr__(name: str) -> Any:
    """Imports TFX when the component is asked for, and not with the configuration."""
    if name == "Pusher":
        from tfx_pipeline.components.pusher import component

        return component.Pusher
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
