"""Reads a compiled pipeline, and refuses what Kubeflow Pipelines refuses, in its words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

_VERSION = "2.1.0"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_STEP = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*")
_INVALID = "pipeline spec is invalid: "


@dataclass(frozen=True)
class Task:
    """A task of a compiled pipeline.

    Attributes:
        name: Of the task.
        spec: What it reads, and when it runs.
        component: Types of its inputs and outputs.
        container: Image, command and arguments.
    """

    name: str
    spec: Mapping[str, Any]
    component: Mapping[str, Any]
    container: Mapping[str, Any]

    @property
    def cached(self) -> bool:
        """Whether the task may be answered from the cache."""
        return bool(self.spec.get("cachingOptions", {}).get("enableCache"))

    @property
    def condition(self) -> str:
        """When it runs, in CEL; always if empty."""
        return str(self.spec.get("triggerPolicy", {}).get("condition", ""))

    def inputs(self, kind: str) -> Mapping[str, Any]:
        """Returns where inputs come from; `kind` is `parameters` or `artifacts`."""
        found: Mapping[str, Any] = self.spec.get("inputs", {}).get(kind, {})
        return found

    def outputs(self, kind: str) -> Mapping[str, Any]:
        """Returns what it writes, likewise."""
        found: Mapping[str, Any] = self.component.get("outputDefinitions", {}).get(kind, {})
        return found


@dataclass(frozen=True)
class CompiledPipeline:
    """A compiled pipeline.

    Attributes:
        name: Of the pipeline.
        tasks: In an order in which they can run.
        parameters: Definitions of the run's parameters, by name.
    """

    name: str
    tasks: tuple[Task, ...]
    parameters: Mapping[str, Mapping[str, Any]]

    def arguments(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Returns the parameters of a run, defaults filled in.

        Raises:
            ValueError: One is not known, or has no value.
        """
        if unknown := set(given) - set(self.parameters):
            raise ValueError(
                f"There is no parameter {', '.join(sorted(unknown))}; a run of this pipeline has "
                f"{', '.join(sorted(self.parameters))}."
            )
        found: dict[str, Any] = dict(given)
        for name, definition in self.parameters.items():
            if name not in found and "defaultValue" not in definition:
                raise ValueError(
                    f"parameter {name} is not optional, yet has neither default value nor user "
                    "provided value"
                )
            found.setdefault(name, definition.get("defaultValue"))
        return found


def read_compiled(path: Path) -> CompiledPipeline:
    """Reads a compiled pipeline.

    Raises:
        ValueError: Kubeflow Pipelines would not take it.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise ValueError(f"unknown template format: {path} is no YAML file")
    try:
        documents = [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]
    except yaml.YAMLError as error:
        raise ValueError(f"{_INVALID}unable to decode yaml document: {error}") from None
    specs = [one for one in documents if isinstance(one, dict) and "pipelineInfo" in one]
    if len(specs) != 1:
        how = "multiple pipeline specs" if specs else "no pipeline spec is"
        raise ValueError(f"{_INVALID}{how} provided")
    return parse_compiled(specs[0])


def parse_compiled(spec: Mapping[str, Any]) -> CompiledPipeline:
    """Checks a pipeline spec as the API server does; raises as `read_compiled`."""
    try:
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    except json_format.ParseError as error:
        raise ValueError(f"{_INVALID}invalid v2 pipeline spec: {error}") from None
    version, name = spec.get("schemaVersion", ""), spec["pipelineInfo"].get("name", "")
    if version != _VERSION:
        raise ValueError(
            f"{_INVALID}KFP only supports schema version {_VERSION}, but the pipeline spec has "
            f"version {version}"
        )
    if not name:
        raise ValueError(f"{_INVALID}invalid v2 pipeline spec: name is empty")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{_INVALID}invalid v2 pipeline spec: name should consist of lower case alphanumeric "
            "characters, '-' or '.', and must start and end with an alphanumeric character"
        )
    if "root" not in spec:
        raise ValueError(f"{_INVALID}invalid v2 pipeline spec: root component is empty")
    tasks = {name: _task(name, one, spec) for name, one in spec["root"]["dag"]["tasks"].items()}
    _check_dependencies(tasks)
    before = {name: set(producers(task)) | _dependencies(task) for name, task in tasks.items()}
    order = TopologicalSorter(before).static_order()
    parameters = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    return CompiledPipeline(name, tuple(tasks[name] for name in order), parameters)


def producers(task: Task) -> Iterator[str]:
    """Yields the tasks whose outputs a task reads."""
    for kind, source in (
        ("artifacts", "taskOutputArtifact"),
        ("parameters", "taskOutputParameter"),
    ):
        for given in task.inputs(kind).values():
            if source in given:
                yield given[source]["producerTask"]


def _dependencies(task: Task) -> set[str]:
    return set(task.spec.get("dependentTasks", ()))


def _task(name: str, task: Mapping[str, Any], spec: Mapping[str, Any]) -> Task:
    component = spec.get("components", {}).get(task["componentRef"]["name"])
    if component is None:
        raise ValueError(f'component "{task["componentRef"]["name"]}" not found')
    label = component.get("executorLabel", "")
    executor = spec.get("deploymentSpec", {}).get("executors", {}).get(label)
    if executor is None:
        raise ValueError(f'executor(label="{label}") not found in deployment config')
    if "importer" in executor:
        raise ValueError(f"`{name}` is an importer, which only a cluster runs.")
    if "container" not in executor:
        raise ValueError(
            f'executor(label="{label}"): non-container and non-importer executor not implemented'
        )
    return Task(name, task, component, executor["container"])


def _check_dependencies(tasks: Mapping[str, Task]) -> None:
    for name, task in tasks.items():
        for producer in producers(task):
            if producer not in tasks:
                raise ValueError(f'task "{name}": cannot find producer task "{producer}"')
        for other in (name, *sorted(_dependencies(task))):
            if other not in tasks or not _STEP.fullmatch(other):
                raise ValueError(
                    f"templates.root.tasks.{name} invalid dependency '{other}': Argo takes "
                    "letters, digits and `-`, and tasks that there are"
                )
