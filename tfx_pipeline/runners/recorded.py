"""Runs of a directory as ML Metadata has them: what ran, when, how it ended and what it made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from datetime import timezone
from functools import cached_property
from pathlib import Path
from typing import Any

from ml_metadata import proto
from ml_metadata.metadata_store import metadata_store

from tfx_pipeline.runners.mirror import DATABASE
from tfx_pipeline.runners.mirror import local_run_dir

CACHED = "CACHED"
COMPLETE = "COMPLETE"
_ENDED = (COMPLETE, CACHED)


@dataclass(frozen=True)
class RecordedArtifact:
    """An artifact that a component made, or was answered with.

    Attributes:
        path: Where it is now: a run's directory may have been moved.
        properties: Custom properties, such as `blessed`.
    """

    path: Path
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class RecordedStep:
    """A component of a run.

    Attributes:
        node: Its id, e.g. `trainer`.
        state: `COMPLETE`, `CACHED`, `FAILED`, `CANCELED`, or `RUNNING` for one that was killed.
        started: When it began.
        seconds: How long it took, as far as is known.
        properties: Its parameters as TFX's cache sees them, JSON unpacked.
        outputs: Artifacts by key.
    """

    node: str
    state: str
    started: datetime
    seconds: float
    properties: Mapping[str, Any]
    outputs: Mapping[str, RecordedArtifact]

    @property
    def ended(self) -> bool:
        """Whether its outputs are whole."""
        return self.state in _ENDED

    @property
    def code_version(self) -> str:
        """The hash of the sources that ran, wherever the component has it; "" if nowhere."""
        custom = self.properties.get("custom_config") or {}
        return str(self.properties.get("code_version") or custom.get("code_version", ""))


@dataclass(frozen=True)
class RecordedRun:
    """One run of the pipeline.

    Attributes:
        run_dir: The directory of the run.
        number: Which run of the directory, from 1.
        run_id: TFX's id of it.
        pipeline: The pipeline's name.
        started: When it began.
        steps: Components by id, in the order in which they began.
        newest: Whether it is the directory's last one.
    """

    run_dir: Path
    number: int
    run_id: str
    pipeline: str
    started: datetime
    steps: Mapping[str, RecordedStep]
    newest: bool

    @cached_property
    def artifacts(self) -> dict[str, dict[str, str]]:
        """Node id -> output key -> directory, of the components that ended."""
        return {
            node: {key: str(artifact.path) for key, artifact in step.outputs.items()}
            for node, step in self.steps.items()
            if step.ended
        }

    def output(self, node: str, key: str) -> Path | None:
        """Returns the directory of an output if it was made and is there still."""
        uri = self.artifacts.get(node, {}).get(key)
        return Path(uri) if uri and Path(uri).is_dir() else None

    @property
    def stopped_in(self) -> str:
        """The first component that failed or was killed; "" if all ended."""
        return next((node for node, step in self.steps.items() if not step.ended), "")

    @property
    def state(self) -> str:
        """`COMPLETE`, or the state of the component that it stopped in."""
        return self.steps[self.stopped_in].state if self.stopped_in else COMPLETE

    @property
    def seconds(self) -> float:
        """From the start of the first component to the end of the last one."""
        ends = [step.started.timestamp() + step.seconds for step in self.steps.values()]
        return max(ends, default=self.started.timestamp()) - self.started.timestamp()

    def why_missing(self, node: str, key: str) -> str:
        """Says in a sentence why there is no such output.

        Args:
            node: The component.
            key: Of its output.
        """
        step = self.steps.get(node)
        if step is None:
            if self.stopped_in:
                return f"The run stopped in `{self.stopped_in}`, before `{node}` began."
            return f"This run has no component `{node}`."
        if step.state == "FAILED":
            return f"`{node}` failed; {self.run_dir / 'run.log'} says why."
        if not step.ended:
            return f"`{node}` did not finish: the run was stopped in it, or is still running."
        return f"`{node}` made `{key}`, and its files are no longer in {self.run_dir}."


def read_runs(run_dir: str | Path) -> list[RecordedRun]:
    """Reads all runs of a directory, the oldest first; of one in an object store from a copy.

    Raises:
        ValueError: No run ever began there.
    """
    folder = local_run_dir(run_dir)
    database = folder / DATABASE
    if not database.is_file():
        raise ValueError(
            f"{run_dir} is not the directory of a run: it has no {DATABASE}. `vitrine run` "
            "makes one."
        )
    connection = proto.ConnectionConfig()
    connection.sqlite.filename_uri = str(database)
    store = metadata_store.MetadataStore(connection)
    contexts = sorted(store.get_contexts_by_type("pipeline_run"), key=lambda one: one.id)
    nodes = {one.id: one.name for one in store.get_contexts_by_type("node")}
    if not contexts:
        raise ValueError(f"No run has begun in {run_dir}: {DATABASE} names none.")
    return [
        _read_run(store, folder, nodes, context, number, number == len(contexts))
        for number, context in enumerate(contexts, 1)
    ]


def read_run(place: str) -> RecordedRun:
    """Reads one run: the newest of a directory, or with `DIR@NUMBER` one of the others.

    Raises:
        ValueError: There is no such run.
    """
    run_dir, at, number = place.rpartition("@")
    if not at or not number.isdigit() or Path(place).is_dir():
        return read_runs(place)[-1]
    runs = read_runs(run_dir)
    if not 1 <= int(number) <= len(runs):
        raise ValueError(f"{run_dir} has the runs 1 to {len(runs)}; there is no run {number}.")
    return runs[int(number) - 1]


def _read_run(
    store: metadata_store.MetadataStore,
    run_dir: Path,
    nodes: Mapping[int, str],
    context: proto.Context,
    number: int,
    newest: bool,
) -> RecordedRun:
    executions = sorted(store.get_executions_by_context(context.id), key=lambda one: one.id)
    steps = {}
    pipeline = ""
    for execution in executions:
        (name,) = [
            nodes[one.id]
            for one in store.get_contexts_by_execution(execution.id)
            if one.id in nodes
        ]
        pipeline, _, node = name.rpartition(".")
        steps[node] = _read_step(store, run_dir, node, execution)
    started = _time(context.create_time_since_epoch)
    return RecordedRun(run_dir, number, context.name, pipeline, started, steps, newest)


def _read_step(
    store: metadata_store.MetadataStore, run_dir: Path, node: str, execution: proto.Execution
) -> RecordedStep:
    outputs = {}
    for event in store.get_events_by_execution_ids([execution.id]):
        if event.type == proto.Event.OUTPUT:
            (artifact,) = store.get_artifacts_by_id([event.artifact_id])
            # <pipeline root>/<node>/<key>/<execution>, wherever that root was.
            path = Path(run_dir, "artifacts", *Path(artifact.uri).parts[-3:]).absolute()
            outputs[event.path.steps[0].key] = RecordedArtifact(path, _values(artifact))
    begun, changed = execution.create_time_since_epoch, execution.last_update_time_since_epoch
    return RecordedStep(
        node,
        proto.Execution.State.Name(execution.last_known_state),
        _time(begun),
        (changed - begun) / 1_000,
        _values(execution),
        outputs,
    )


def _values(node: proto.Execution | proto.Artifact) -> dict[str, Any]:
    """Returns custom properties as plain values, those that are JSON unpacked."""
    return {
        name: unpacked(getattr(value, value.WhichOneof("value")))
        for name, value in node.custom_properties.items()
        if value.WhichOneof("value") in ("int_value", "double_value", "string_value")
    }


def unpacked(value: Any) -> Any:
    """Returns a value in which every string that is a JSON object or list is that."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return unpacked(json.loads(value))
        except ValueError:
            return value
    if isinstance(value, dict):
        return {key: unpacked(one) for key, one in value.items()}
    return value


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1_000, timezone.utc)
