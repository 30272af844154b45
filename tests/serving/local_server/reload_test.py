"""HandleReloadConfigRequest, where it is switched on."""

from __future__ import annotations

import grpc
import pytest

from serving.client import NotFoundError
from serving.client import RecommenderClient
from serving.client import protos


@pytest.fixture
def root(saved, serve, tmp_path):
    """A server of `root/a` that reloads below `root`, and the call to do so."""
    root = tmp_path / "root"
    root.mkdir()
    saved(root / "a", 1)
    server = serve(root / "a", reload_root=root)
    with grpc.insecure_channel(server.address) as channel:
        method = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
        call = channel.unary_unary(method)

        def reload(**models: object) -> None:
            request = protos.ReloadConfigRequest()
            for name, path in models.items():
                entry = request.config.model_config_list.config.add()
                entry.name, entry.base_path = name, str(path)
            call(request.SerializeToString(), timeout=60)

        yield root, server, reload


def version_of(server, name: str) -> int:
    with RecommenderClient(server.address, name, timeout=60) as client:
        return client.recommend().version


def test_models_are_replaced_as_a_whole(root, saved):
    path, server, reload = root
    saved(path / "b", 2)
    reload(b=path / "b")
    assert version_of(server, "b") == 2
    with pytest.raises(NotFoundError, match=r"this server has \['b'\]"):
        version_of(server, "tiny")


def test_a_model_that_stays_is_not_loaded_again(root, saved):
    path, server, reload = root
    saved(path / "b", 2)
    before = server.registry.find("tiny").available()[0].servable
    reload(tiny=path / "a", b=path / "b")
    assert server.registry.find("tiny").available()[0].servable is before
    assert (version_of(server, "tiny"), version_of(server, "b")) == (1, 2)


def test_another_base_path_takes_over_once_a_version_of_it_answers(root, saved, eventually):
    path, server, reload = root
    broken = path / "b" / "2"
    broken.mkdir(parents=True)
    (broken / "saved_model.pb").write_bytes(b"no model")
    reload(tiny=path / "b")
    assert version_of(server, "tiny") == 1
    saved(path / "b", 3)
    eventually(lambda: version_of(server, "tiny") == 3)
    reload(tiny=path / "a")
    assert version_of(server, "tiny") == 1


def test_nothing_outside_the_root_is_loaded(root, saved, tmp_path):
    path, server, reload = root
    outside = tmp_path / "outside"
    saved(outside, 3)
    (path / "link").symlink_to(outside)
    (path / "inner").mkdir()
    (path / "inner" / "3").symlink_to(outside / "3")
    for base in (outside, path / "link", path / "inner", path / ".." / "outside", "/"):
        with pytest.raises(grpc.RpcError, match="outside") as caught:
            reload(evil=base)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert version_of(server, "tiny") == 1


def test_a_link_that_appears_later_is_not_followed(root, saved, tmp_path, eventually):
    path, server, _ = root
    outside = tmp_path / "outside"
    saved(outside, 3)
    (path / "a" / "3").symlink_to(outside / "3")
    with RecommenderClient(server.address, "tiny", timeout=60) as client:
        eventually(lambda: client.model_status()[0].version == 3)
        eventually(lambda: client.model_status()[0].state == "END")
        assert "outside" in client.model_status()[0].error_message
        assert client.recommend().version == 1


def test_a_list_that_makes_no_sense_changes_nothing(root):
    path, server, reload = root
    with pytest.raises(grpc.RpcError, match="no model"):
        reload()
    with pytest.raises(grpc.RpcError, match="no directory"):
        reload(x=path / "none")
    assert version_of(server, "tiny") == 1
