"""Runs one task as its pod would: the driver's input, a process, and what the launcher reads."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from tfx_pipeline.runners.kubeflow.emulator.metadata import Metadata
from tfx_pipeline.runners.kubeflow.emulator.metadata import Outputs
from tfx_pipeline.runners.kubeflow.emulator.spec import Task
from tfx_pipeline.runners.kubeflow.emulator.store import Store
from tfx_pipeline.runners.kubeflow.mounts import ROOT
from tfx_pipeline.runners.kubeflow.mounts import to_local

_LOGS = "executor-logs"
_LOG = "log.txt"
_SHOWN_LINES, _SHOWN_WIDTH = 5, 200  # of the log of a task that failed


@dataclass(frozen=True)
class Pod:
    """Place of one task: a folder that stands for the root of its pod's file system.

    Attributes:
        task: What runs.
        folder: Empty at first.
        prefix: Address below which its outputs go.
    """

    task: Task
    folder: Path
    prefix: str

    def local(self, address: str) -> Path:
        """Returns where the launcher keeps the copy of an address."""
        return Path(to_local(address, str(self.folder)))

    def executor_input(
        self, parameters: Mapping[str, Any], artifacts: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Returns what the driver hands to the task."""
        kinds = {
            key: one["artifactType"] for key, one in self.task.outputs("artifacts").items()
        } | {_LOGS: {"schemaTitle": "system.Artifact"}}
        outputs: dict[str, Any] = {
            "artifacts": {
                key: {"artifacts": [{"type": kind, "uri": f"{self.prefix}/{key}", "metadata": {}}]}
                for key, kind in kinds.items()
            },
            "outputFile": str(self.local(f"{self.prefix}/executor_output.json")),
        }
        if named := self.task.outputs("parameters"):
            outputs["parameters"] = {
                key: {"outputFile": str(self.folder / "tmp/kfp/outputs" / key)} for key in named
            }
        return {
            "inputs": {"parameterValues": dict(parameters), "artifacts": dict(artifacts)},
            "outputs": outputs,
        }

    def run(self, executor_input: Mapping[str, Any], store: Store) -> dict[str, Any]:
        """Downloads the inputs, runs the container's command and reads its output file.

        Raises:
            RuntimeError: The process failed, or wrote what the launcher does not take.
        """
        for given in executor_input["inputs"]["artifacts"].values():
            for artifact in given["artifacts"]:
                if _is_mapped(artifact["uri"]):
                    store.download(artifact["uri"], self.local(artifact["uri"]))
        for given in executor_input["outputs"]["artifacts"].values():
            self.local(given["artifacts"][0]["uri"]).parent.mkdir(parents=True, exist_ok=True)
        for place in executor_input["outputs"].get("parameters", {}).values():
            Path(place["outputFile"]).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(executor_input)
        container = self.task.container
        command = [*container.get("command", ()), *container.get("args", ())]
        variables = {one["name"]: one["value"] for one in container.get("env", ())}
        here = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
        log = self.folder / _LOG
        with log.open("wb") as stream:
            done = subprocess.run(
                [argument.replace("{{$}}", text) for argument in command],
                cwd=self.folder,
                env={**os.environ, "PATH": here, ROOT: str(self.folder), **variables},
                stdout=stream,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            last = "".join(f"\n  {line[:_SHOWN_WIDTH]}" for line in lines[-_SHOWN_LINES:])
            raise RuntimeError(
                f"The task `{self.task.name}` {_how_it_ended(done.returncode)}; its last lines:"
                f"{last}\nThe whole log is in {log}."
            )
        return _read_output(Path(executor_input["outputs"]["outputFile"]), self.task.name)

    def publish(
        self,
        executor_input: Mapping[str, Any],
        output: Mapping[str, Any],
        store: Store,
        metadata: Metadata,
    ) -> Outputs:
        """Uploads the outputs and records them; of the output file no more than uri and metadata.

        An artifact at a local path is not uploaded, as the launcher does not either.
        """
        found = Outputs()
        for key, given in executor_input["outputs"]["artifacts"].items():
            (artifact,) = given["artifacts"]
            written = output.get("artifacts", {}).get(key, {}).get("artifacts", [{}])[0]
            uri = written.get("uri") or artifact["uri"]
            if _is_mapped(uri):
                store.upload(self.local(uri), uri)
            if key != _LOGS:
                facts = artifact["metadata"] | written.get("metadata", {})
                found.artifacts[key] = metadata.record(uri, facts, key)
        for key, place in executor_input["outputs"].get("parameters", {}).items():
            file = Path(place["outputFile"])
            if key in output.get("parameterValues", {}):
                found.parameters[key] = output["parameterValues"][key]
            elif file.exists():
                found.parameters[key] = file.read_text(encoding="utf-8")
            else:
                raise RuntimeError(f"`{self.task.name}` did not write the parameter `{key}`.")
        return found

    def remove(self) -> None:
        """Removes what the task saw, as its pod goes; a path into it is of no use to others."""
        for place in self.folder.iterdir():
            if place.is_dir():
                shutil.rmtree(place)


def make_pod(task: Task, folder: Path, run_root: str) -> Pod:
    """Makes an empty folder for a task, and an address for its outputs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return Pod(task, folder, f"{run_root}/{task.name}/{uuid.uuid4()}")


def _is_mapped(uri: str) -> bool:
    """Says whether the launcher copies an artifact; it passes over others with a warning."""
    return to_local(uri) != uri


def _read_output(file: Path, name: str) -> dict[str, Any]:
    """Reads an executor output; it may be absent, and is checked strictly if not."""
    if not file.exists():
        return {}
    text = file.read_text(encoding="utf-8")
    try:
        json_format.Parse(text, pipeline_spec_pb2.ExecutorOutput())
    except json_format.ParseError as error:
        raise RuntimeError(
            f"`{name}` wrote an output file that the launcher rejects: {error}"
        ) from None
    found: dict[str, Any] = json.loads(text)
    return found


def _how_it_ended(code: int) -> str:
    """Says how a process ended that did not succeed."""
    return f"failed with {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"
