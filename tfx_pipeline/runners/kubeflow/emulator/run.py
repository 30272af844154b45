"""Runs every task of a compiled pipeline on this machine."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from tfx_pipeline.runners.kubeflow.emulator.condition import holds
from tfx_pipeline.runners.kubeflow.emulator.metadata import Metadata
from tfx_pipeline.runners.kubeflow.emulator.metadata import Outputs
from tfx_pipeline.runners.kubeflow.emulator.metadata import cache_key
from tfx_pipeline.runners.kubeflow.emulator.spec import CompiledPipeline
from tfx_pipeline.runners.kubeflow.emulator.spec import Task
from tfx_pipeline.runners.kubeflow.emulator.spec import producers
from tfx_pipeline.runners.kubeflow.emulator.store import Store
from tfx_pipeline.runners.kubeflow.emulator.task import make_pod

_PLAYED = "s3://vitrine/pipelines"


@dataclass
class CompiledRun:
    """A finished run.

    Attributes:
        store: Where its artifacts are.
        outputs: Task -> what it wrote, or what the cache answered with.
        cached: Tasks that were answered from the cache.
        skipped: Tasks whose condition did not hold, and those behind them.
    """

    store: Store
    outputs: dict[str, Outputs] = field(default_factory=dict)
    cached: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def fetch(self, folder: Path, keys: set[str]) -> dict[str, dict[str, str]]:
        """Downloads the artifacts of some output keys.

        Returns:
            Task -> key -> directory.
        """
        found: dict[str, dict[str, str]] = {}
        for task, outputs in self.outputs.items():
            for key in keys & outputs.artifacts.keys():
                place = folder / task / key
                self.store.download(outputs.artifacts[key]["uri"], place)
                found.setdefault(task, {})[key] = str(place)
        return found


def run_compiled(
    pipeline: CompiledPipeline,
    parameters: Mapping[str, str],
    work_dir: Path,
    root: str = "",
    say: Callable[[str], None] = print,
) -> CompiledRun:
    """Runs a compiled pipeline task by task, each as its own process in a folder of its own.

    Args:
        pipeline: What to run.
        parameters: Of this run, by name.
        work_dir: Where tasks run; what earlier runs left there is the cache.
        root: Address of the pipeline's artifacts, `s3://bucket/prefix`; a folder below
            `work_dir` plays an object store if it is empty.
        say: Takes a line a task.

    Raises:
        ValueError: A parameter is not known or missing.
        RuntimeError: A task failed.
    """
    arguments = pipeline.arguments(parameters)
    work_dir = work_dir.absolute()
    work_dir.mkdir(parents=True, exist_ok=True)
    run = CompiledRun(Store(None if root else work_dir / "store"))
    metadata = Metadata(work_dir / f"{pipeline.name}.json")  # no other pipeline shares its cache
    run_root = f"{(root or _PLAYED).rstrip('/')}/{pipeline.name}/{uuid.uuid4()}"
    for position, task in enumerate(pipeline.tasks, 1):
        started = time.time()
        folder = work_dir / "tasks" / task.name
        how = _run_task(task, run, arguments, metadata, folder, run_root)
        line = how or f"{time.time() - started:.0f} s"
        say(f"[{position:>2}/{len(pipeline.tasks)}] {task.name:<28} {line}")
    return run


def _run_task(
    task: Task,
    run: CompiledRun,
    arguments: Mapping[str, Any],
    metadata: Metadata,
    folder: Path,
    run_root: str,
) -> str:
    """Runs a task; says so if it did not have to."""
    before = {*producers(task), *task.spec.get("dependentTasks", ())}
    artifacts = {} if before & set(run.skipped) else _artifacts(task, run)
    if before & set(run.skipped) or (task.condition and not holds(task.condition, artifacts)):
        run.skipped.append(task.name)
        return "skipped"
    pod = make_pod(task, folder, run_root)
    executor_input = pod.executor_input(_parameters(task, run, arguments), artifacts)
    key = cache_key(task, executor_input) if task.cached else ""
    if key and (known := metadata.cached(key)):
        run.outputs[task.name] = known
        run.cached.append(task.name)
        return "from cache"
    output = pod.run(executor_input, run.store)
    run.outputs[task.name] = pod.publish(executor_input, output, run.store, metadata)
    metadata.keep(key, run.outputs[task.name])
    pod.remove()
    return ""


def _parameters(task: Task, run: CompiledRun, arguments: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for key, given in task.inputs("parameters").items():
        if "runtimeValue" in given:
            found[key] = given["runtimeValue"]["constant"]
        elif "componentInputParameter" in given:
            found[key] = arguments[given["componentInputParameter"]]
        else:
            source = given["taskOutputParameter"]
            produced = run.outputs[source["producerTask"]].parameters
            found[key] = str(produced[source["outputParameterKey"]])
    return found


def _artifacts(task: Task, run: CompiledRun) -> dict[str, Any]:
    found = {}
    for key, given in task.inputs("artifacts").items():
        source = given["taskOutputArtifact"]
        produced = run.outputs[source["producerTask"]].artifacts[source["outputArtifactKey"]]
        # Of the type nothing is left, as the driver hands it on.
        found[key] = {"artifacts": [produced | {"type": {"instanceSchema": ""}}]}
    return found
