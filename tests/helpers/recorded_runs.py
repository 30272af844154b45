"""Runs in ML Metadata by hand, as TFX's local runner records them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from ml_metadata import proto
from ml_metadata.metadata_store import metadata_store

STATES = proto.Execution.State


@dataclass(frozen=True)
class Step:
    """A component that began.

    Attributes:
        node: Its id.
        state: How it ended.
        properties: Its parameters; what is no plain value is written as JSON.
        outputs: Key -> custom properties of the artifact, whose directory is made.
    """

    node: str
    state: str = "COMPLETE"
    properties: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def record_run(
    run_dir: Path, steps: Sequence[Step], pipeline: str = "shop", made_in: Path | None = None
) -> None:
    """Records one more run of a directory.

    Args:
        run_dir: Where it is.
        steps: What began, in order.
        pipeline: Its name.
        made_in: Where artifacts were when they were recorded; `run_dir` when None.
    """
    connection = proto.ConnectionConfig()
    connection.sqlite.filename_uri = str(run_dir / "metadata.sqlite")
    connection.sqlite.connection_mode = 3  # makes the file
    store = metadata_store.MetadataStore(connection)
    number = len(store.get_contexts_by_type("pipeline_run")) if _has(store) else 0
    run = _context(store, "pipeline_run", f"2026-01-0{number + 1}T00:00:00")
    for step in steps:
        _record(store, run, f"{pipeline}.{step.node}", step, run_dir, made_in or run_dir)


def _has(store: metadata_store.MetadataStore) -> bool:
    return any(kind.name == "pipeline_run" for kind in store.get_context_types())


def _context(store: metadata_store.MetadataStore, kind: str, name: str) -> int:
    found = store.get_context_by_type_and_name(kind, name)
    if found is not None:
        return int(found.id)
    (made,) = store.put_contexts(
        [proto.Context(type_id=store.put_context_type(proto.ContextType(name=kind)), name=name)]
    )
    return int(made)


def _record(
    store: metadata_store.MetadataStore,
    run: int,
    name: str,
    step: Step,
    run_dir: Path,
    made_in: Path,
) -> None:
    execution = proto.Execution(
        type_id=store.put_execution_type(proto.ExecutionType(name=step.node)),
        last_known_state=STATES.Value(step.state),
    )
    _set(execution, step.properties)
    (number,) = store.put_executions([execution])
    artifacts = []
    for key, properties in step.outputs.items():
        place = Path("artifacts", step.node, key, str(number))
        (run_dir / place).mkdir(parents=True)
        artifact = proto.Artifact(
            type_id=store.put_artifact_type(proto.ArtifactType(name=key)), uri=str(made_in / place)
        )
        _set(artifact, properties)
        event = proto.Event(type=proto.Event.OUTPUT, execution_id=number)
        event.path.steps.add(key=key)
        artifacts.append((artifact, event))
    execution.id = number
    contexts = [proto.Context(id=one) for one in (run, _context(store, "node", name))]
    found = store.get_contexts_by_id([one.id for one in contexts])
    store.put_execution(execution, artifacts, found)


def _set(node: proto.Execution | proto.Artifact, properties: Mapping[str, Any]) -> None:
    for name, value in properties.items():
        if isinstance(value, int):
            node.custom_properties[name].int_value = value
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            node.custom_properties[name].string_value = text
