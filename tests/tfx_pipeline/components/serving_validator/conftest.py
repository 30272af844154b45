"""A good release candidate, and what the serving validator makes of candidates."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any
from typing import NamedTuple

import pytest
from tfx.types import standard_artifacts

from serving.index.config import ServeConfig
from serving.local_server.config import ModelConfig
from serving.local_server.config import ServerConfig
from serving.local_server.server import LocalServer
from serving.publishing.config import PusherConfig
from tests.helpers.artifacts import artifact
from tests.helpers.artifacts import raw_examples
from tests.helpers.examples import timeline
from tests.helpers.servables import write_tiny_servable
from tests.tfx_pipeline.components.conftest import do
from tfx_pipeline.components.serving_validator.component import Executor
from tfx_pipeline.components.serving_validator.config import RetrievalServingValidationConfig

SEEN = ("watch",)
TIMELINES = [
    timeline("ann", ["movie:1", "movie:2"], targets=["movie:3"], request_time=50),
    timeline("bob", [], attributes=["age=25"]),
    timeline("cem", ["movie:2", "movie:9", "movie:4"], event=["watch", "click", "watch"]),
    timeline("dee", [f"movie:{1 + i % 7}" for i in range(400)], query="a film"),
]
PUSH = PusherConfig(warmup_requests=2)


class Verdict(NamedTuple):
    """What the executor left behind."""

    blessing: Any
    report: dict[str, Any]

    @property
    def failed(self) -> list[str]:
        return [check["name"] for check in self.report["checks"] if check["passed"] is False]


def servers() -> list[int]:
    """Returns the children of this process that are model servers, dead or alive."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        zombie = not command
        if parent == os.getpid() and (zombie or b"serving.local_server" in command):
            found.append(int(entry.name))
    return found


@pytest.fixture(autouse=True)
def no_server_stays():
    yield
    assert servers() == []


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The good candidate in `servable`, and the towers that it was made of in `towers`."""
    folder = tmp_path_factory.mktemp("good")
    write_tiny_servable(folder, config=ServeConfig(k=10, exclude_seen=SEEN))
    return folder


@pytest.fixture(scope="session")
def other(tmp_path_factory):
    """A candidate like `made`, of other towers."""
    folder = tmp_path_factory.mktemp("other")
    write_tiny_servable(folder, config=ServeConfig(k=10, exclude_seen=SEEN), seed=1)
    return folder


def serve(base_path: Path) -> LocalServer:
    """A server in this process, of the model `staging`."""
    models = (ModelConfig(name="staging", base_path=base_path),)
    return LocalServer(ServerConfig(models=models, port=0, rest_port=None, poll_seconds=0.05))


@pytest.fixture
def judged(made, tmp_path):
    """Runs the executor on a candidate."""

    def judge(candidate: Path, timelines=TIMELINES, push=PUSH, **settings) -> Verdict:
        servable = artifact(standard_artifacts.Model, tmp_path / "servable", 7)
        shutil.copytree(candidate, tmp_path / "servable" / "Format-Serving")
        model = artifact(standard_artifacts.Model, tmp_path / "model")
        shutil.copytree(made / "towers", tmp_path / "model" / "Format-Serving")
        blessing = artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing")
        do(
            Executor,
            {
                "servable": servable,
                "model": model,
                "examples": raw_examples(tmp_path / "examples", {"test": timelines}),
            },
            {"blessing": blessing},
            {
                "config": RetrievalServingValidationConfig(exclude_seen=SEEN, **settings).to_json(),
                "name": "films",
                "push": push.seen_by_servers().to_json(),
            },
        )
        report = json.loads((tmp_path / "blessing" / "report.json").read_text())
        good = bool(blessing.get_int_custom_property("blessed"))
        assert report["blessed"] is good
        assert (tmp_path / "blessing" / ("BLESSED" if good else "NOT_BLESSED")).exists()
        return Verdict(blessing, report)

    return judge


@pytest.fixture
def judged_here(judged, tmp_path):
    """Runs the executor on a candidate with a server in this process, which starts at once."""

    def judge(candidate: Path, **settings) -> Verdict:
        (tmp_path / "here").mkdir()
        with serve(tmp_path / "here") as server:
            place = {"model": "staging", "base_path": str(tmp_path / "here")}
            return judged(candidate, server=server.address, **place, **settings)

    return judge
