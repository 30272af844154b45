"""Submission through kfp's own client, to a server that speaks the few routes of its API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tfx_pipeline.runners.kubeflow.small_pipeline import spec
from tfx_pipeline.commands.submit import Submission
from tfx_pipeline.commands.submit import submit


class Api(ThreadingHTTPServer):
    """Kubeflow Pipelines' API: keeps what it is sent, and refuses when told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sent: dict[str, dict[str, Any]] = {}
        self.tokens: set[str | None] = set()
        self.refuses = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Api

    def _answer(self, body: dict[str, Any], status: int = 200) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].removeprefix("/apis/v2beta1/")
        if path == "healthz":
            self._answer({"multi_user": False})
        elif path == "experiments":
            self._answer({"experiments": []})
        else:
            self._answer({}, 404)

    def do_POST(self) -> None:
        kind = self.path.partition("?")[0].removeprefix("/apis/v2beta1/")
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.tokens.add(self.headers["Authorization"])
        if self.server.refuses and kind != "experiments":
            self._answer({"error": self.server.refuses}, 400)
            return
        self.server.sent[kind] = body
        ids = {"recurringruns": "recurring_run_id"}
        self._answer(body | {ids.get(kind, f"{kind[:-1]}_id"): f"{kind}-1"})

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A compiled file of two documents."""
    path = tmp_path / "pipeline.yaml"
    executors = {"make_executor": {"imagePullPolicy": "Always"}}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
    path.write_text(yaml.safe_dump_all([spec(), platform]), encoding="utf-8")
    return path


def test_a_run_is_what_was_compiled_and_its_parameters(
    api: Api, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KFP_TOKEN", "secret")
    said = submit(file, ("text=good day",), Submission(api.address, "s3://bucket/root"))
    assert said == f"run runs-1\n{api.address}/#/runs/details/runs-1"
    assert api.sent["experiments"]["display_name"] == "vitrine"
    sent = api.sent["runs"]
    assert sent["experiment_id"] == "experiments-1"
    assert sent["display_name"] == "small"
    assert sent["runtime_config"] == {
        "parameters": {"text": "good day"},
        "pipeline_root": "s3://bucket/root",
    }
    pipeline = sent["pipeline_spec"]["pipeline_spec"]
    assert pipeline["deploymentSpec"] == spec()["deploymentSpec"]
    assert pipeline["root"]["dag"]["tasks"]["make"]["cachingOptions"] == {"enableCache": True}
    platforms = sent["pipeline_spec"]["platform_spec"]["platforms"]
    assert platforms["kubernetes"]["deploymentSpec"]["executors"]["make_executor"] == {
        "imagePullPolicy": "Always"
    }
    assert api.tokens == {"Bearer secret"}


def test_a_recurring_run_starts_one_at_a_time(api: Api, file: Path) -> None:
    said = submit(file, (), Submission(api.address, name="nightly", cron="0 0 3 * * *"))
    assert said.startswith("recurring run recurringruns-1\n")
    sent = api.sent["recurringruns"]
    assert sent["display_name"] == "nightly"
    assert sent["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert (sent["max_concurrency"], sent["no_catchup"]) == (1, True)
    assert "pipeline_root" not in sent["runtime_config"]


def test_what_cannot_be_submitted_says_why(
    api: Api, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = Submission(api.address)
    with pytest.raises(ValueError, match="no parameter seed; a run of this pipeline has text"):
        submit(file, ("seed=1",), where)
    with pytest.raises(ValueError, match="name=value"):
        submit(file, ("text",), where)
    assert not api.sent
    api.refuses = "no such service account"
    with pytest.raises(RuntimeError, match="refuses: 400 .*no such service account"):
        submit(file, (), where)
    nobody = Submission("http://127.0.0.1:1")
    with pytest.raises(RuntimeError, match="does not answer at http://127.0.0.1:1"):
        submit(file, (), nobody)
    monkeypatch.setitem(__import__("sys").modules, "kfp", None)
    with pytest.raises(RuntimeError, match="extra `kubeflow`"):
        submit(file, (), where)
