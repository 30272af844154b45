"""`vitrine push`: what it prints, and that a server answers by the labels it writes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner
from google.protobuf import text_format

from serving.client import RecommenderClient
from serving.client import protos
from serving.local_server.config import ServerConfig
from serving.publishing.label_moves import introduce
from serving.publishing.models_config import MODELS_CONFIG
from serving.publishing.publish import publish
from tests.helpers.servables import FILES
from tests.helpers.servables import describe_servable
from tfx_pipeline.cli import cli
from tfx_pipeline.commands.serve import server_config


def push(*arguments: object) -> str:
    """Runs `vitrine push` and returns what it printed."""
    result = CliRunner().invoke(cli, ["push", *map(str, arguments)], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture
def push_dir(tmp_path: Path) -> Path:
    """Three pushed versions of a model that says its version."""
    from tests.serving.local_server.tiny import save_tiny

    target = tmp_path / "pushed"
    for version in (1, 2, 3):
        source = save_tiny(tmp_path / "saved", version)
        for name in FILES:
            (source / name).parent.mkdir(exist_ok=True)
            (source / name).touch()
        describe_servable(source)

        def announce(number: int) -> set[int]:
            return set(introduce(target, number, "tiny", str(target)).versions.values())

        assert publish(target, source, lambda _: None, announce=announce) == version
    return target


def test_status_says_what_is_served_and_what_was(push_dir, tmp_path):
    assert push("status", "--base-path", push_dir).splitlines() == [
        f"tiny in {push_dir}",
        "labels     stable 1 · canary 3",
        "versions   1, 2, 3",
        "earlier    none",
        "withdrawn  none",
    ]
    push("promote", "--base-path", push_dir)
    push("rollback", "--base-path", push_dir, "--wait", 0)
    shown = push("status", "--base-path", push_dir).splitlines()
    assert shown[1:] == [
        "labels     stable 1 · canary 1",
        "versions   1, 2",
        "earlier    none",
        "withdrawn  3",
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="Nothing was pushed"):
        push("status", "--base-path", tmp_path / "empty")


class Server:
    """A running local server of a push directory."""

    def __init__(self, push_dir: Path) -> None:
        from serving.local_server.server import LocalServer

        self.file = push_dir / MODELS_CONFIG
        config = ServerConfig(
            models_config_file=self.file, port=0, rest_port=None, reload_root=push_dir
        )
        self.server = LocalServer(config)
        self.server.start()

    def reload(self) -> None:
        """Has the server take `models.config` again, as TF Serving does by itself."""
        request = protos.ReloadConfigRequest()
        text_format.Parse(self.file.read_text(), request.config)
        with grpc.insecure_channel(self.server.address) as channel:
            method = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
            channel.unary_unary(method)(request.SerializeToString(), timeout=60)

    def answers(self) -> dict[str, str]:
        """Returns what the model says first, by label."""
        found = {}
        for label in ("stable", "canary"):
            with RecommenderClient(self.server.address, "tiny", label=label, timeout=60) as client:
                answer = client.recommend()
                found[label] = answer.ids[0]
                assert answer.ids[0] == f"v{answer.version}:0:0"
        return found


@pytest.fixture
def server(push_dir: Path) -> Iterator[Server]:
    """A server of the three versions."""
    running = Server(push_dir)
    yield running
    running.server.stop(drain_seconds=1)


def test_a_server_answers_by_label_before_and_after(push_dir, server):
    assert server.answers() == {"stable": "v1:0:0", "canary": "v3:0:0"}
    printed = push("promote", "--base-path", push_dir, "--version", 2)
    assert printed.splitlines()[:2] == [
        "before  stable 1 · canary 3",
        "after   stable 2 · canary 3",
    ]
    server.reload()
    assert server.answers() == {"stable": "v2:0:0", "canary": "v3:0:0"}
    push("promote", "--base-path", push_dir)
    server.reload()
    assert server.answers() == {"stable": "v3:0:0", "canary": "v3:0:0"}
    printed = push("rollback", "--base-path", push_dir, "--wait", 0)
    assert printed.splitlines()[:2] == [
        "before  stable 3 · canary 3",
        "after   stable 2 · canary 2",
    ]
    assert f"renamed {push_dir / '3'} to withdrawn-3" in printed
    server.reload()
    assert server.answers() == {"stable": "v2:0:0", "canary": "v2:0:0"}
    push("rollback", "--base-path", push_dir, "--wait", 0)
    server.reload()
    assert server.answers() == {"stable": "v1:0:0", "canary": "v1:0:0"}


def test_vitrine_serve_follows_the_labels_of_the_push(push_dir, tmp_path):
    from serving.local_server.server import LocalServer

    moved = push_dir.rename(tmp_path / "moved")  # the file names the place where it was pushed
    settings = ("rest_port=null", "poll_seconds=0.05")
    config = server_config({"movies": moved}, {"port": 0}, settings)
    with LocalServer(config) as server:

        def labelled(label: str) -> int:
            with RecommenderClient(server.address, "movies", label=label, timeout=60) as client:
                return client.recommend().version

        assert (labelled("stable"), labelled("canary")) == (1, 3)
        push("promote", "--base-path", moved)
        end = time.monotonic() + 60
        while labelled("stable") != 3:
            assert time.monotonic() < end, "the promotion was never seen"


def test_labels_of_the_command_line():
    labels = ("stable=2", "canary=13")
    (model,) = server_config({"shop": Path("pushed")}, {}, (), labels).models
    assert (model.labels, model.labels_file) == ({"stable": 2, "canary": 13}, None)
    with pytest.raises(ValueError, match="`--label` is for one model, and there are shop, other"):
        server_config({"shop": Path("pushed"), "other": Path("other")}, {}, (), labels)
    for text in ("stable", "=3", "stable=", "stable=-1", "stable=x"):
        with pytest.raises(ValueError, match=f"NAME=VERSION; received `{text}`"):
            server_config({"shop": Path("pushed")}, {}, (), (text,))


def test_a_promotion_beside_another_canary_says_what_servers_do(push_dir):
    printed = push("promote", "--base-path", push_dir, "--version", 2)
    assert "cannot load version 3, its labels stay as they were (stable 1 · canary 3)" in printed
    assert "`vitrine push rollback --canary`" in printed
    printed = push("rollback", "--canary", "--base-path", push_dir, "--wait", 0)
    assert "after   stable 2 · canary 2" in printed and "note" not in printed


def test_servers_have_time_to_follow_before_a_version_is_set_aside(push_dir):
    printed = push("rollback", "--canary", "--base-path", push_dir, "--wait", 0.01)
    waiting, renamed = printed.index("wait    0.01 s"), printed.index("renamed")
    assert waiting < renamed


def test_what_is_refused_is_a_message_and_leaves_the_file(push_dir):
    before = (push_dir / MODELS_CONFIG).read_bytes()
    with pytest.raises(ValueError, match="nothing to go back to"):
        push("rollback", "--base-path", push_dir)
    with pytest.raises(ValueError, match="no version 9"):
        push("promote", "--base-path", push_dir, "--version", 9)
    with pytest.raises(ValueError, match="not the directory of a run"):
        push("promote", "--run", push_dir)
    assert (push_dir / MODELS_CONFIG).read_bytes() == before


def test_a_run_is_enough(push_dir, tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (tmp_path / "models").mkdir()
    push_dir.rename(tmp_path / "models" / "retrieval")
    lines = ["name: tiny", "log_dir: data", f"run_dir: {run_dir}", f"push_dir: {tmp_path}/models"]
    (run_dir / "config.yaml").write_text("\n".join(lines))
    printed = push("promote", "--run", run_dir)
    assert printed.splitlines()[1] == "after   stable 3 · canary 3"
    with pytest.raises(ValueError, match="models/ranking has no version yet"):
        push("promote", "--run", run_dir, "--stage", "ranking")
