"""What Kubeflow Pipelines remembers between tasks and between runs, in one file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from tfx_pipeline.runners.kubeflow.emulator.spec import Task


@dataclass
class Outputs:
    """Outputs of a finished task.

    Attributes:
        artifacts: Key -> `name` (the id), `uri` and `metadata`.
        parameters: Key -> value.
    """

    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)


class Metadata:
    """Ids of artifacts, and the cache: a task's outputs by what it was given."""

    def __init__(self, file: Path):
        """Opens what earlier runs left, if they did."""
        self._file = file
        known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        self._last_id: int = known.get("last_id", 0)
        self._cache: dict[str, dict[str, Any]] = known.get("cache", {})

    def record(self, uri: str, metadata: Mapping[str, Any], name: str) -> dict[str, Any]:
        """Records an artifact and returns it as later tasks will see it.

        Raises:
            ValueError: A value of the metadata is null, which the launcher rejects.
        """
        self._last_id += 1
        kept = {key: round_trip(value, key) for key, value in metadata.items()}
        return {
            "name": str(self._last_id),
            "uri": uri,
            "metadata": {"display_name": name} | kept,
        }

    def cached(self, key: str) -> Outputs | None:
        """Returns the outputs of a task that was given the same."""
        found = self._cache.get(key)
        return Outputs(**found) if found else None

    def keep(self, key: str, outputs: Outputs) -> None:
        """Remembers the outputs of a task, on disk too."""
        if key:
            found = {"artifacts": outputs.artifacts, "parameters": outputs.parameters}
            self._cache[key] = found
        aside = self._file.with_suffix(".partial")
        text = json.dumps({"last_id": self._last_id, "cache": self._cache}, indent=1)
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, self._file)


def round_trip(value: Any, key: str) -> Any:
    """Returns a value of an artifact's metadata as ML Metadata gives it back."""
    if value is None:
        raise ValueError(f"unknown value type for metadata `{key}`: null")
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, list):
        return {"list": value}
    if isinstance(value, dict):
        return {"struct": value}
    return float(value) if isinstance(value, int) else value


def cache_key(task: Task, executor_input: Mapping[str, Any]) -> str:
    """Hashes what Kubeflow's cache compares: values, ids of artifacts, and the container."""
    inputs, outputs = executor_input["inputs"], executor_input["outputs"]
    key = {
        "inputArtifactNames": {
            name: [one["name"] for one in given["artifacts"]]
            for name, given in inputs.get("artifacts", {}).items()
        },
        "inputParameterValues": inputs.get("parameterValues", {}),
        "outputArtifacts": {
            name: given["artifacts"][0]["type"] for name, given in outputs["artifacts"].items()
        },
        "outputParameters": sorted(outputs.get("parameters", {})),
        "image": task.container["image"],
        "cmdArgs": [*task.container.get("command", ()), *task.container.get("args", ())],
        "env": task.container.get("env", []),
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
