"""A server that is still loading: what it answers, what it says, and who waits for it."""

from __future__ import annotations

import socket
import threading

import grpc
import pytest

from serving.client import NotFoundError
from serving.client import RecommenderClient
from serving.client import RetryPolicy
from serving.client import UnavailableError
from serving.client import wait_until_ready
from serving.local_server.config import ModelConfig
from serving.local_server.config import ServerConfig
from serving.local_server.errors import StartError


def server_of(base, say, **settings):
    from serving.local_server.server import LocalServer

    models = (ModelConfig(name="tiny", base_path=base),)
    defaults = {"port": 0, "rest_port": None, "poll_seconds": 0.05}
    return LocalServer(ServerConfig(models=models, **{**defaults, **settings}), say)


def ask(server, **settings):
    return RecommenderClient(server.address, "tiny", timeout=60, **settings)


def test_while_it_loads_a_server_answers_that_it_does(gated_version, gate, eventually):
    from grpc_health.v1 import health_pb2
    from grpc_health.v1 import health_pb2_grpc

    lines: list[str] = []
    server = server_of(gated_version, lines.append)
    starting = threading.Thread(target=server.start)
    starting.start()
    try:
        eventually(lambda: server.port > 0)
        empty, kinds = health_pb2.HealthCheckRequest(), health_pb2.HealthCheckResponse
        with grpc.insecure_channel(server.address) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            assert check(empty, wait_for_ready=True, timeout=60).status == kinds.NOT_SERVING
        with ask(server, retry=RetryPolicy(attempts=1)) as client:
            eventually(lambda: [s.state for s in client.model_status()] == ["LOADING"])
            with pytest.raises(UnavailableError, match="no version loaded yet"):
                client.recommend()
            assert lines == [f"Loading model `tiny` from {gated_version} ..."]
            waited: list[str] = []

            def open_gate(line: str) -> None:
                waited.append(line)
                gate.set()

            wait_until_ready(client, 60, open_gate)
            assert waited == ["Waiting up to 60 s: model `tiny` is loading"]
            assert client.predict("gated", {"x": [2.0]})["y"].tolist() == [2.0]
        eventually(lambda: len(lines) == 2)
        assert lines[1] == f"Ready: model `tiny`, version 1, on {server.address} (gRPC)"
    finally:
        gate.set()
        starting.join()
        server.stop(drain_seconds=0)


def test_a_server_without_a_version_says_so_and_then_what_came(saved, tmp_path, eventually):
    lines: list[str] = []
    waiting = f"No version of `tiny` has been pushed to {tmp_path} yet; waiting for one"
    with server_of(tmp_path, lines.append) as server, ask(server) as client:
        eventually(lambda: waiting in lines)

        def push(line: str) -> None:
            assert line == "Waiting up to 60 s: model `tiny` has no version yet"
            saved(tmp_path, 1)

        with pytest.raises(UnavailableError, match="model `tiny` has no version yet after 0.5 s"):
            wait_until_ready(client, 0.5)
        wait_until_ready(client, 60, once(push))
        assert client.recommend().version == 1
        ready = f"Ready: model `tiny`, version 1, on {server.address} (gRPC)"
        eventually(lambda: lines[1:] == [waiting, ready])
        saved(tmp_path, 2)
        eventually(lambda: lines[3:] == [ready.replace("version 1", "version 2")])


def test_a_damaged_version_is_named_by_server_and_client(saved, tmp_path, eventually):
    lines: list[str] = []
    (saved(tmp_path, 1) / "saved_model.pb").unlink()
    with server_of(tmp_path, lines.append) as server, ask(server) as client:
        eventually(lambda: len(lines) == 2)
        assert lines[1].startswith("No version of `tiny` can be served: 1 (")
        assert "saved_model.pb" in lines[1]
        with pytest.raises(UnavailableError, match=r"can be served: 1 \(.*saved_model.pb"):
            wait_until_ready(client, 0.3)


def test_a_taken_port_is_an_error_before_anything_is_said(tmp_path):
    lines: list[str] = []
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(StartError, match="--port"):
            server_of(tmp_path, lines.append, port=other.getsockname()[1]).start()
    assert lines == []


def test_nobody_and_unknown_models(client, tiny_server):
    wait_until_ready(client, 60, pytest.fail)
    with RecommenderClient(tiny_server.address, "tinny") as other:
        with pytest.raises(NotFoundError, match="no model `tinny`"):
            wait_until_ready(other, 60)
    lines: list[str] = []
    with RecommenderClient("127.0.0.1:1", "tiny") as other:
        with pytest.raises(UnavailableError, match="nobody answers at 127.0.0.1:1 after 0.6 s"):
            wait_until_ready(other, 0.6, lines.append)
    assert lines == ["Waiting up to 0.6 s: nobody answers at 127.0.0.1:1"]


def once(function):
    """Calls a function for the first line alone: the version loads meanwhile."""
    calls: list[str] = []

    def say(line: str) -> None:
        if not calls:
            function(line)
        calls.append(line)

    return say
