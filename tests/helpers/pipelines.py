"""Pipelines as they are assembled from a configuration, none of them run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfx_pipeline.config_file import load_config
from tfx_pipeline.pipeline import create_pipeline
from tfx_pipeline.stages.state import read_state


def components(log: Path, *overrides: str) -> dict[str, Any]:
    """Returns the components of `shop_demo` on a log, with both stages, by their ids."""
    places = (f"log_dir={log}", f"run_dir={log.parent / 'run'}")
    config = load_config("shop_demo", (*places, "ranking={}", *overrides))
    made = create_pipeline(config, read_state(config), "root")
    return {component.id: component for component in made.components}


def custom_config(component: Any) -> dict[str, str]:
    """Returns what a component's module or function is told."""
    text = component.exec_properties.get("custom_config")
    return json.loads(text) if text else {}


def read_by(component: Any) -> dict[str, str]:
    """Returns what a component reads, as `component.output` by the key of its input."""
    return {
        key: f"{channel.producer_component_id}.{channel.output_key}"
        for key, channel in component.inputs.items()
    }
