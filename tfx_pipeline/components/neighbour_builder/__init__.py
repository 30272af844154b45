"""NeighbourBuilder: counts what is consumed together, and in what order."""

from __future__ import annotations

from typing import Any

__all__ = ["NeighbourBuilder"]


def __getattr__(name: str) -> Any:
    """Imports TFX when the component is asked for, and not with the job."""
    if name == "NeighbourBuilder":
        from tfx_pipeline.components.neighbour_builder import component

        return component.NeighbourBuilder
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
