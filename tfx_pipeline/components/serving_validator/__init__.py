"""ServingValidator: asks the release candidate through a server before it is pushed."""

from __future__ import annotations

from typing import Any

__all__ = ["ServingValidator"]


def __getattr__(name: str) -> Any:
    """Imports TFX when the component is asked for, and not with the configuration."""
    if name == "ServingValidator":
        from tfx_pipeline.components.serving_validator import component

        return component.ServingValidator
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
