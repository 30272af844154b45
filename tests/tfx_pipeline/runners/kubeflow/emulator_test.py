"""The emulator: what it refuses, what it keeps between tasks, what comes out of the store."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tfx_pipeline.runners.kubeflow.small_pipeline import MAKE
from tests.tfx_pipeline.runners.kubeflow.small_pipeline import container
from tests.tfx_pipeline.runners.kubeflow.small_pipeline import spec
from tfx_pipeline.runners.kubeflow.emulator.condition import holds
from tfx_pipeline.runners.kubeflow.emulator.metadata import Metadata
from tfx_pipeline.runners.kubeflow.emulator.metadata import round_trip
from tfx_pipeline.runners.kubeflow.emulator.run import CompiledRun
from tfx_pipeline.runners.kubeflow.emulator.run import run_compiled
from tfx_pipeline.runners.kubeflow.emulator.spec import parse_compiled
from tfx_pipeline.runners.kubeflow.emulator.spec import read_compiled
from tfx_pipeline.runners.kubeflow.emulator.store import Store


def tasks(one: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = one["root"]["dag"]["tasks"]
    return found


def run(one: dict[str, Any], place: Path, **parameters: str) -> CompiledRun:
    return run_compiled(parse_compiled(one), parameters, place, say=lambda _: None)


def report(done: CompiledRun, place: Path) -> dict[str, Any]:
    places = done.fetch(place, {"report"})
    found: dict[str, Any] = json.loads(Path(places["read"]["report"]).read_text(encoding="utf-8"))
    return found


def test_a_task_sees_its_inputs_and_nothing_else(tmp_path: Path) -> None:
    done = run(spec(), tmp_path / "work", text="hi")
    assert done.outputs["make"].parameters == {"said": "hi!"}
    found = report(done, tmp_path / "fetched")
    assert found["given"] == {"number": 3.0, "said": "hi!"}
    assert found["read"]["type"] == {"instanceSchema": ""}
    assert found["read"]["name"] == "1"
    assert found["read"]["metadata"] == {
        "display_name": "made",
        "blessed": 1.0,
        "names": {"list": ["a"]},
        "of": {"struct": {"b": 2}},
        "yes": 1,
        "text": "x",
    }
    assert found["folders"] == ["BLESSED", "below"]  # the empty one is gone
    uri = found["read"]["uri"]
    assert uri.startswith("s3://vitrine/pipelines/small/") and uri.endswith("/made")
    made = "s3/" + uri.removeprefix("s3://")
    assert found["files"] == ["log.txt", f"{made}/BLESSED", f"{made}/below/a.txt"]


def test_an_unchanged_run_comes_from_the_cache_and_a_changed_one_does_not(tmp_path: Path) -> None:
    run(spec(), tmp_path)
    again = run(spec(), tmp_path)
    assert again.cached == ["make", "read"]
    assert report(again, tmp_path / "fetched")["given"]["said"] == "hello!"
    assert run(spec(), tmp_path, text="other").cached == []
    never = spec()
    tasks(never)["make"]["cachingOptions"] = {}
    # Its artifact is another one now, and what reads it runs again.
    assert run(never, tmp_path).cached == []


def test_a_parameter_of_a_task_that_always_runs_leaves_the_rest_in_the_cache(
    tmp_path: Path,
) -> None:
    first = spec()
    tasks(first)["make"]["cachingOptions"] = {}
    del tasks(first)["read"]["inputs"]["artifacts"]
    program = 'local(out["report"]).write_text("1")'
    first["deploymentSpec"]["executors"]["read_executor"] = container(program)
    run(first, tmp_path)
    assert run(first, tmp_path).cached == ["read"]
    assert run(first, tmp_path, text="other").cached == []


@pytest.mark.parametrize(("value", "runs"), [("1.0", True), ("0.0", False)])
def test_a_condition_is_decided_by_the_published_property(
    value: str, runs: bool, tmp_path: Path
) -> None:
    one = spec()
    condition = f"(inputs.artifacts['made'].artifacts[0].metadata['blessed'] == {value})"
    tasks(one)["read"]["triggerPolicy"] = {"condition": condition}
    done = run(one, tmp_path)
    assert ("read" in done.outputs, done.skipped) == (runs, [] if runs else ["read"])


def test_conditions() -> None:
    artifact = {"uri": "s3://a", "metadata": {"blessed": 1.0, "name": "x"}}
    given = {"m": {"artifacts": [artifact]}}
    prefix = "inputs.artifacts['m'].artifacts[0]"
    assert holds(f"({prefix}.metadata['blessed'] > 0.0) && ({prefix}.uri == 's3://a')", given)
    assert not holds(f"!(({prefix}.metadata['name'] == 'x'))", given)
    with pytest.raises(ValueError, match="no such key: accepted"):
        holds(f"({prefix}.metadata['accepted'] == 1.0)", given)
    with pytest.raises(ValueError, match="not of those that TFX writes"):
        holds("size(inputs) == 1", given)


def test_a_local_path_is_not_uploaded_and_the_next_task_finds_nothing(tmp_path: Path) -> None:
    one = spec()
    away = MAKE.replace('"uri": out["made"]', '"uri": str(local(out["made"]))')
    one["deploymentSpec"]["executors"]["make_executor"] = container(away)
    with pytest.raises(RuntimeError, match="`read` failed"):
        run(one, tmp_path)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("sys.exit('no such log')", "`make` failed with 1(?s:.*)no such log"),
        ("import os; os.kill(os.getpid(), 15)", "`make` was ended by SIGTERM"),
        ("write(unknown=1)", "launcher rejects.*unknown"),
        ("write(artifacts={})", "did not write the parameter `said`"),
    ],
)
def test_a_task_that_fails_says_how(program: str, message: str, tmp_path: Path) -> None:
    one = spec()
    one["deploymentSpec"]["executors"]["make_executor"] = container(program)
    with pytest.raises(RuntimeError, match=message):
        run(one, tmp_path)


def test_null_in_metadata_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`why`: null"):
        Metadata(tmp_path / "m.json").record("s3://a", {"why": None}, "x")
    assert [round_trip(one, "x") for one in (True, 2, 0.5, "a")] == [1, 2.0, 0.5, "a"]


def refused(change: Any) -> str:
    one = deepcopy(spec())
    change(one)
    with pytest.raises(ValueError) as caught:
        parse_compiled(one)
    return str(caught.value)


def test_what_the_api_server_refuses_is_refused_in_its_words() -> None:
    def other_version(one: dict[str, Any]) -> None:
        one["schemaVersion"] = "2.0.0"

    def no_name(one: dict[str, Any]) -> None:
        one["pipelineInfo"] = {}

    def other_name(one: dict[str, Any]) -> None:
        one["pipelineInfo"]["name"] = "Small_one"

    def unknown_field(one: dict[str, Any]) -> None:
        one["nonsense"] = 1

    def no_root(one: dict[str, Any]) -> None:
        del one["root"]

    def resolver(one: dict[str, Any]) -> None:
        one["deploymentSpec"]["executors"]["make_executor"] = {"resolver": {}}

    def underscore(one: dict[str, Any]) -> None:
        tasks(one)["read_it"] = tasks(one).pop("read")

    def unknown_producer(one: dict[str, Any]) -> None:
        given = tasks(one)["read"]["inputs"]["parameters"]["said"]
        given["taskOutputParameter"]["producerTask"] = "make_task"

    assert "KFP only supports schema version 2.1.0, but" in refused(other_version)
    assert "name is empty" in refused(no_name)
    assert "lower case alphanumeric characters" in refused(other_name)
    assert "invalid v2 pipeline spec" in refused(unknown_field)
    assert "root component is empty" in refused(no_root)
    assert "non-container and non-importer executor not implemented" in refused(resolver)
    assert "invalid dependency 'read_it'" in refused(underscore)
    assert 'cannot find producer task "make_task"' in refused(unknown_producer)


def test_files_that_are_no_pipeline_are_refused(tmp_path: Path) -> None:
    for name, text, message in (
        ("a.json", json.dumps(spec()), "unknown template format"),
        ("b.yaml", "platforms: {}", "no pipeline spec is provided"),
        ("c.yaml", yaml.safe_dump_all([spec(), spec()]), "multiple pipeline specs provided"),
        ("d.yaml", "a: [", "unable to decode yaml document"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            read_compiled(tmp_path / name)


def test_what_was_uploaded_comes_back_without_empty_directories(tmp_path: Path) -> None:
    there_and_back(Store(tmp_path / "store"), "s3://bucket", tmp_path)


def test_an_s3_server_keeps_the_same(bucket: str, tmp_path: Path) -> None:
    there_and_back(Store(), bucket, tmp_path)


def there_and_back(store: Store, bucket: str, place: Path) -> None:
    local, back = place / "local", place / "back"
    (local / "below").mkdir(parents=True)
    (local / "empty").mkdir()
    (local / "below" / "é x.txt").write_text("1", encoding="utf-8")
    (local / "zero").touch()
    store.upload(local, f"{bucket}/root/a")
    store.upload(local / "zero", f"{bucket}/root/file")
    for name in ("a", "file", "missing"):
        store.download(f"{bucket}/root/{name}", back / name)
    found = {str(path.relative_to(back)) for path in back.rglob("*")}
    assert found == {"a", "a/below", "a/below/é x.txt", "a/zero", "file"}
    assert (back / "a/below/é x.txt").read_text(encoding="utf-8") == "1"
    assert (back / "file").read_bytes() == b""


def test_artifacts_of_a_run_are_in_an_s3_server(bucket: str, tmp_path: Path) -> None:
    done = run_compiled(parse_compiled(spec()), {}, tmp_path / "work", bucket, lambda _: None)
    assert done.outputs["make"].artifacts["made"]["uri"].startswith(f"{bucket}/small/")
    assert report(done, tmp_path / "fetched")["folders"] == ["BLESSED", "below"]
    assert not (tmp_path / "work" / "store").exists()


def test_a_key_that_is_a_file_and_a_prefix_breaks_the_download(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    for key in ("a", "a/b"):
        Store().upload(tmp_path / "x", f"{bucket}/{key}")
    with pytest.raises(OSError, match="there are files below it"):
        Store().download(f"{bucket}/a", tmp_path / "back")
