"""Entry point of every container: makes TFX's own run where Kubeflow Pipelines calls it.

TFX's entry point was written for Vertex AI. The open-source driver and launcher differ from it
in four ways: the types of input artifacts are empty; there is an output `executor-logs`,
which no component declares; addresses in an object store stand for local copies; and the
directories of outputs are not there yet.

    python -m tfx_pipeline.runners.kubeflow.entrypoint --executor_class_path CLASS
        --json_serialized_invocation_args INPUT --json_serialized_inputs_spec_args SPEC ...
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tfx_pipeline.runners.kubeflow.mounts import to_address
from tfx_pipeline.runners.kubeflow.mounts import to_local

_INPUT = "--json_serialized_invocation_args"
_SPEC = "--json_serialized_inputs_spec_args"
_LOGS = "executor-logs"
_VALUES = ("tfx.Boolean", "tfx.Bytes", "tfx.Float", "tfx.Integer", "tfx.JsonValue", "tfx.String")


def as_tfx_expects(executor_input: dict[str, Any], inputs_spec: dict[str, Any]) -> dict[str, Any]:
    """Returns an executor input that TFX understands.

    Args:
        executor_input: As the driver of Kubeflow Pipelines writes it.
        inputs_spec: `inputDefinitions` of the component, which says the types.
    """
    found: dict[str, Any] = json.loads(json.dumps(executor_input))
    outputs = found.get("outputs", {}).get("artifacts", {})
    outputs.pop(_LOGS, None)
    inputs = found.get("inputs", {}).get("artifacts", {})
    for key, artifact in _artifacts(inputs):
        if not any(artifact.get("type", {}).values()):
            artifact["type"] = inputs_spec["artifacts"][key]["artifactType"]
        metadata = artifact.get("metadata", {})
        artifact["metadata"] = {name: _unpacked(value) for name, value in metadata.items()}
    for _, artifact in (*_artifacts(inputs), *_artifacts(outputs)):
        artifact["uri"] = to_local(artifact["uri"])
    return found


def as_kubeflow_expects(executor_output: dict[str, Any]) -> dict[str, Any]:
    """Returns an executor output with addresses, as the launcher reads it.

    A local path would skip the upload in silence. Values without a value are left out, since
    the launcher refuses null.
    """
    found: dict[str, Any] = json.loads(json.dumps(executor_output))
    for _, artifact in _artifacts(found.get("artifacts", {})):
        artifact["uri"] = to_address(artifact["uri"])
        artifact["metadata"] = {
            name: _mapped(value, to_address)
            for name, value in artifact.get("metadata", {}).items()
            if value is not None
        }
    return found


def make_directories(executor_input: dict[str, Any]) -> None:
    """Makes the directories of outputs, as TFX's own launcher would, but for values in a file."""
    for _, artifact in _artifacts(executor_input["outputs"].get("artifacts", {})):
        schema = yaml.safe_load(artifact["type"].get("instanceSchema", "")) or {}
        if schema.get("title") not in _VALUES:
            Path(artifact["uri"]).mkdir(parents=True, exist_ok=True)


def _artifacts(lists: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, one in lists.items():
        for artifact in one.get("artifacts", []):
            yield key, artifact


def _unpacked(value: Any) -> Any:
    """Returns a list or a dictionary as it was before ML Metadata kept it."""
    if isinstance(value, dict) and len(value) == 1:
        ((kind, inner),) = value.items()
        if (kind, type(inner)) in (("list", list), ("struct", dict)):
            return inner
    return value


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _mapped(inner, change) for key, inner in value.items()}
    if isinstance(value, list):
        return [_mapped(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value


def main(argv: list[str]) -> None:
    """Runs TFX's entry point.

    Args:
        argv: The command line, without the program.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument(_INPUT, dest="input", required=True)
    parser.add_argument(_SPEC, dest="spec", default="{}")
    given, others = parser.parse_known_args(argv)
    executor_input = as_tfx_expects(json.loads(given.input), json.loads(given.spec))
    make_directories(executor_input)

    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor as tfx_entrypoint

    arguments = [_INPUT, json.dumps(executor_input), _SPEC, given.spec, *others]
    tfx_entrypoint.main(tfx_entrypoint._parse_flags([sys.argv[0], *arguments]))
    output = Path(executor_input["outputs"]["outputFile"])
    changed = as_kubeflow_expects(json.loads(output.read_text(encoding="utf-8")))
    output.write_text(json.dumps(changed), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
