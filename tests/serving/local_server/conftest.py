"""Servers and versions for the tests of the local server."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.client import RecommenderClient
from serving.local_server.config import ModelConfig
from serving.local_server.config import ServerConfig


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> Callable[..., Path]:
    """Saves a tiny version once and puts copies of it where tests want them."""
    from tests.serving.local_server.tiny import save_tiny

    store = tmp_path_factory.mktemp("versions")

    def put(base: Path, version: int) -> Path:
        source = store / str(version)
        if not source.exists():
            save_tiny(store, version)
        base.mkdir(exist_ok=True)
        aside = base / f"copying-{version}"
        shutil.copytree(source, aside)
        return aside.rename(base / str(version))

    return put


@pytest.fixture
def serve() -> Iterator[Callable[..., object]]:
    """Starts servers of the model `tiny` on free ports and stops them at the end."""
    from serving.local_server.server import LocalServer

    servers = []

    def start(base: Path, model: dict | None = None, **settings) -> LocalServer:
        models = (ModelConfig(name="tiny", base_path=base, **(model or {})),)
        defaults = {"models": models, "port": 0, "rest_port": None, "poll_seconds": 0.05}
        server = LocalServer(ServerConfig(**{**defaults, **settings}))
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop(drain_seconds=1)


@pytest.fixture(scope="module")
def tiny_server(saved, tmp_path_factory):
    """One server of version 1 for tests that change nothing."""
    from serving.local_server.server import LocalServer

    base = tmp_path_factory.mktemp("base")
    saved(base, 1)
    models = (ModelConfig(name="tiny", base_path=base, labels={"stable": 1, "canary": 2}),)
    settings = {"port": 0, "rest_port": 0, "allow_version_labels_for_unavailable_models": True}
    with LocalServer(ServerConfig(models=models, **settings)) as server:
        yield server


@pytest.fixture(scope="module")
def client(tiny_server) -> Iterator[RecommenderClient]:
    with RecommenderClient(tiny_server.address, "tiny", timeout=60) as client:
        yield client


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Keeps a version of `gated_version` in its warm-up, and its runs, until it is set."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def gated_version(tmp_path, gate) -> Iterator[Path]:
    """A version whose warm-up and runs wait for the gate."""
    import tensorflow as tf

    from tests.serving.local_server import tiny

    def wait(x):
        gate.wait(60)
        return x

    class Gated(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def gated(self, x):
            return {"y": tf.ensure_shape(tf.numpy_function(wait, [x], tf.float32), [None])}

    model = Gated()
    base = tmp_path / "base"
    path = base / "1"
    tf.saved_model.save(model, str(path), signatures={"gated": model.gated})
    tiny.write_warmup(path, [tiny.request("gated", x=[1.0])])
    yield base
    del model  # the graph finds `wait` only while its function lives


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Waits until a condition holds, a minute at most."""

    def wait(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, "the condition never held"
            time.sleep(0.02)

    return wait
