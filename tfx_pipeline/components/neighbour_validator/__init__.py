"""NeighbourValidator: counts some neighbour lists again, and blesses them all or does not."""

from __future__ import annotations

from typing import Any

__all__ = ["NeighbourValidator"]


def __getattr__(name: str) -> Any:
    """Imports TFX when the component is asked for, and not with the check."""
    if name == "NeighbourValidator":
        from tfx_pipeline.components.neighbour_validator import component

        return component.NeighbourValidator
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
