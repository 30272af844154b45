"""Labels and `models.config`: what is refused, what is read again, and when a label moves."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
import pytest

from serving.client import NotFoundError
from serving.client import RecommenderClient
from serving.client import protos
from serving.local_server.config import ServerConfig
from serving.local_server.errors import StartError

ALLOWED = {"allow_version_labels_for_unavailable_models": True}


def version_of(server, label: str | None = None, model: str = "tiny") -> int:
    with RecommenderClient(server.address, model, label=label, timeout=60) as client:
        return client.recommend().version


def write(file: Path, base: Path, name: str = "tiny", **labels: int) -> None:
    """Writes a `models.config` of one model, as the push does: aside, then renamed."""
    lines = [f"version_labels {{ key: '{label}' value: {n} }}" for label, n in labels.items()]
    aside = file.with_name("aside")
    aside.write_text(
        f"model_config_list {{ config {{ name: '{name}' base_path: '{base}' "
        f"model_version_policy {{ all {{}} }} {' '.join(lines)} }} }}"
    )
    aside.rename(file)


@pytest.fixture
def configured(tmp_path):
    """Starts a server of a `models.config`, and stops it."""
    from serving.local_server.server import LocalServer

    servers = []

    def start(file: Path, **settings):
        defaults = {"port": 0, "rest_port": None, "poll_seconds": 0.05}
        server = LocalServer(ServerConfig(models_config_file=file, **{**defaults, **settings}))
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop(drain_seconds=1)


def test_a_label_of_a_version_that_does_not_exist_is_refused(saved, serve, tmp_path):
    saved(tmp_path, 1)
    labels = {"labels": {"stable": 1, "canary": 2}}
    with pytest.raises(StartError, match="label `canary` of model `tiny` names version 2"):
        serve(tmp_path, model=labels)
    server = serve(tmp_path, model=labels, **ALLOWED)
    assert version_of(server, "stable") == 1
    with pytest.raises(NotFoundError, match="no version 2"):
        version_of(server, "canary")


def test_a_label_of_a_version_that_cannot_be_loaded_is_refused_with_the_reason(
    saved, serve, tmp_path
):
    saved(tmp_path, 1)
    (saved(tmp_path, 2) / "saved_model.pb").unlink()
    with pytest.raises(StartError, match=r"names version 2.*saved_model\.pb.*allow_version_labels"):
        serve(tmp_path, model={"labels": {"stable": 2}})


def test_an_allowed_label_answers_once_its_version_is_there(saved, serve, tmp_path, eventually):
    saved(tmp_path, 1)
    server = serve(tmp_path, model={"labels": {"canary": 2}}, **ALLOWED)
    saved(tmp_path, 2)
    eventually(lambda: version_of(server) == 2)
    assert version_of(server, "canary") == 2


def test_a_changed_models_config_is_taken(saved, configured, tmp_path, eventually):
    base, file = tmp_path / "base", tmp_path / "models.config"
    saved(base, 1)
    saved(base, 2)
    write(file, base, stable=1)
    server = configured(file)
    assert version_of(server, "stable") == 1
    with pytest.raises(NotFoundError, match="no version label `canary`"):
        version_of(server, "canary")
    write(file, base, stable=2, canary=2)
    eventually(lambda: version_of(server, "stable") == 2)
    assert version_of(server, "canary") == 2
    write(file, base, name="renamed", stable=1)
    eventually(lambda: list(server.registry.models) == ["renamed"])
    eventually(lambda: server.registry.find("renamed").labels == {"stable": 1})
    assert version_of(server, "stable", "renamed") == 1


def test_a_label_never_moves_to_a_version_that_does_not_answer(
    saved, configured, tmp_path, eventually
):
    base, file = tmp_path / "base", tmp_path / "models.config"
    saved(base, 1)
    write(file, base, stable=1)
    server = configured(file, **ALLOWED)
    write(file, base, stable=2, canary=1)
    eventually(lambda: server.registry.find("tiny").labels.get("canary") == 1)
    assert version_of(server, "stable") == 1  # where it was
    saved(base, 2)
    eventually(lambda: version_of(server, "stable") == 2)


def test_a_version_stays_while_its_label_waits_for_another(saved, serve, tmp_path, eventually):
    saved(tmp_path, 1)
    saved(tmp_path, 2)
    file = tmp_path / "models.config"
    write(file, tmp_path, stable=1)
    server = serve(tmp_path, model={"labels_file": file})
    write(file, tmp_path, stable=3)
    eventually(lambda: server.registry.find("tiny").config.labels == {"stable": 3})
    saved(tmp_path, 4)
    eventually(lambda: version_of(server) == 4)
    assert version_of(server, "stable") == 1


def test_a_models_config_that_cannot_be_read_changes_nothing(
    saved, configured, tmp_path, eventually
):
    base, file = tmp_path / "base", tmp_path / "models.config"
    saved(base, 1)
    write(file, base, stable=1)
    server = configured(file)
    for text in ("model_config_list { config { nme: 'x' } }", "", "model_config_list {"):
        file.write_text(text)
        time.sleep(0.2)  # several looks
        assert version_of(server, "stable") == 1
    file.unlink()
    saved(base, 2)  # the directory is still looked at
    eventually(lambda: version_of(server) == 2)
    assert version_of(server, "stable") == 1


def test_labels_come_from_a_file_that_need_not_be_there_yet(saved, serve, tmp_path, eventually):
    saved(tmp_path, 1)
    file = tmp_path / "serving" / "models.config"
    server = serve(tmp_path, model={"labels_file": file})
    assert version_of(server) == 1
    file.parent.mkdir()
    write(file, Path("/models/shop"), name="as others call it", stable=1)
    eventually(lambda: server.registry.find("tiny").labels == {"stable": 1})
    assert version_of(server, "stable") == 1
    file.unlink()
    eventually(lambda: server.registry.find("tiny").labels == {})


def test_a_reload_with_a_label_of_no_version_is_refused(saved, serve, tmp_path):
    base = tmp_path / "root" / "base"
    base.parent.mkdir()
    saved(base, 1)
    server = serve(base, reload_root=tmp_path / "root")
    request = protos.ReloadConfigRequest()
    entry = request.config.model_config_list.config.add()
    entry.name, entry.base_path = "tiny", str(base)
    entry.version_labels["stable"] = 1
    entry.version_labels["canary"] = 5
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary("/tensorflow.serving.ModelService/HandleReloadConfigRequest")
        with pytest.raises(grpc.RpcError, match="label `canary`.*version 5") as caught:
            call(request.SerializeToString(), timeout=60)
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert version_of(server, "stable") == 1
