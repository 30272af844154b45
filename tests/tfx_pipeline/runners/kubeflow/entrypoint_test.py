"""The container's entry point: what it changes on the way in and out, and TFX behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tfx_pipeline.runners.kubeflow import entrypoint
from tfx_pipeline.runners.kubeflow.mounts import ROOT
from tfx_pipeline.runners.kubeflow.mounts import to_address
from tfx_pipeline.runners.kubeflow.mounts import to_local

EXAMPLES = {"instanceSchema": "title: tfx.Examples\ntype: object\n"}
SCHEMA = {"instanceSchema": "title: tfx.Schema\ntype: object\n"}
LOGS = {"artifacts": [{"type": {"schemaTitle": "system.Artifact"}, "uri": "s3://b/r/t/1/logs"}]}


def executor_input(scheme: str = "s3://", **metadata: Any) -> dict[str, Any]:
    """As the open-source driver writes it."""
    uri = f"{scheme}bucket/run/gen/1/examples"
    read = {"name": "2", "type": {"instanceSchema": ""}, "uri": uri, "metadata": metadata}
    written = {"type": SCHEMA, "uri": f"{scheme}bucket/run/task/2/schema", "metadata": {}}
    return {
        "inputs": {
            "parameterValues": {"code_version": "1"},
            "artifacts": {"examples": {"artifacts": [read]}},
        },
        "outputs": {
            "artifacts": {"schema": {"artifacts": [written]}, "executor-logs": LOGS},
            "outputFile": "/s3/bucket/run/task/2/executor_output.json",
        },
    }


SPEC = {"artifacts": {"examples": {"artifactType": EXAMPLES}}}


def only(found: dict[str, Any], side: str, key: str) -> dict[str, Any]:
    (artifact,) = found[side]["artifacts"][key]["artifacts"]
    return dict(artifact)


@pytest.mark.parametrize(
    ("scheme", "mount"), [("s3://", "/s3/"), ("gs://", "/gcs/"), ("minio://", "/minio/")]
)
def test_addresses_are_the_launchers_mounts(scheme: str, mount: str) -> None:
    found = entrypoint.as_tfx_expects(executor_input(scheme), SPEC)
    assert only(found, "inputs", "examples")["uri"] == f"{mount}bucket/run/gen/1/examples"
    assert only(found, "outputs", "schema")["uri"] == f"{mount}bucket/run/task/2/schema"
    assert found["outputs"]["outputFile"] == "/s3/bucket/run/task/2/executor_output.json"


@pytest.mark.parametrize("address", ["s3://b/k", "gs://b/k/é x", "minio://b/k", "/data/log", "log"])
def test_an_address_comes_back_from_its_mount(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert to_address(to_local(address)) == address
    monkeypatch.setenv(ROOT, "/somewhere")
    assert to_address(to_local(address)) == address
    assert to_local("s3://b/k") == "/somewhere/s3/b/k"


def test_empty_types_are_filled_in_and_others_are_left() -> None:
    given = executor_input()
    found = entrypoint.as_tfx_expects(given, SPEC)
    assert only(found, "inputs", "examples")["type"] == EXAMPLES
    assert only(given, "inputs", "examples")["type"] == {"instanceSchema": ""}  # as it was
    for artifact in given["inputs"]["artifacts"]["examples"]["artifacts"]:
        artifact["type"] = SCHEMA
    assert only(entrypoint.as_tfx_expects(given, SPEC), "inputs", "examples")["type"] == SCHEMA


def test_the_output_that_no_component_declares_is_dropped() -> None:
    found = entrypoint.as_tfx_expects(executor_input(), SPEC)
    assert set(found["outputs"]["artifacts"]) == {"schema"}


def test_metadata_is_unpacked_as_it_was_written() -> None:
    given = executor_input(
        split_names='["train"]', span=0.0, names={"list": [1.0]}, blessed={"struct": {"train": 1.0}}
    )
    metadata = only(entrypoint.as_tfx_expects(given, SPEC), "inputs", "examples")["metadata"]
    assert metadata == {
        "split_names": '["train"]',
        "span": 0.0,
        "names": [1.0],
        "blessed": {"train": 1.0},
    }


def test_outputs_go_back_as_addresses_and_without_null() -> None:
    written = {
        "artifacts": {
            "model": {
                "artifacts": [
                    {
                        "uri": "/gcs/bucket/model",
                        "metadata": {
                            "current_model": "/s3/bucket/towers",
                            "pushed_destination": "/models/1",
                            "splits": {"train": "/s3/bucket/a", "test": ["/minio/bucket/b"]},
                            "nothing": None,
                            "blessed": 1.0,
                        },
                    }
                ]
            }
        },
        "parameterValues": {"seed": "1"},
    }
    found = entrypoint.as_kubeflow_expects(written)
    assert found["parameterValues"] == {"seed": "1"}
    assert found["artifacts"]["model"]["artifacts"] == [
        {
            "uri": "gs://bucket/model",
            "metadata": {
                "current_model": "s3://bucket/towers",
                "pushed_destination": "/models/1",
                "splits": {"train": "s3://bucket/a", "test": ["minio://bucket/b"]},
                "blessed": 1.0,
            },
        }
    ]


def test_directories_of_outputs_are_made_but_for_values(tmp_path: Path) -> None:
    text = {"instanceSchema": "title: tfx.String\ntype: object\n"}
    outputs = {
        "schema": {"artifacts": [{"type": SCHEMA, "uri": str(tmp_path / "schema")}]},
        "value": {"artifacts": [{"type": text, "uri": str(tmp_path / "value")}]},
    }
    entrypoint.make_directories({"outputs": {"artifacts": outputs}})
    assert [path.name for path in tmp_path.iterdir()] == ["schema"]


@pytest.mark.slow
def test_a_component_of_tfx_runs_and_writes_what_the_launcher_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOT, str(tmp_path))
    given = executor_input()
    given["inputs"] = {"parameterValues": {"code_version": "1"}}
    output = tmp_path / "s3/bucket/run/task/2/executor_output.json"
    given["outputs"]["outputFile"] = str(output)
    spec = {"parameters": {"code_version": {"parameterType": "STRING"}}}
    entrypoint.main(
        [
            "--executor_class_path",
            "tfx_pipeline.components.example_validator.schema_gen.Executor",
            "--json_serialized_invocation_args",
            json.dumps(given),
            "--json_serialized_inputs_spec_args",
            json.dumps(spec),
            "--direct_running_mode=in_memory",
        ]
    )
    found = json.loads(output.read_text(encoding="utf-8"))["artifacts"]
    assert set(found) == {"schema"}
    assert found["schema"]["artifacts"][0]["uri"] == "s3://bucket/run/task/2/schema"
    assert (tmp_path / "s3/bucket/run/task/2/schema/schema.pbtxt").is_file()
