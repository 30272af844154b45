"""The server as a process: SIGTERM, taken ports, wrong configurations."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from serving.client import RecommenderClient
from serving.client import RetryPolicy
from serving.client import UnavailableError
from serving.local_server.errors import StartError


def run(tmp_path, **config) -> subprocess.Popen[str]:
    path = tmp_path / "server.json"
    path.write_text(json.dumps(config))
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "serving.local_server", str(path)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_sigterm_under_load_loses_no_answer(saved, tmp_path, eventually):
    base = tmp_path / "base"
    saved(base, 1)
    port = free_port()
    models = [{"name": "tiny", "base_path": str(base)}]
    server = run(tmp_path, models=models, port=port, rest_port=None)
    stop = threading.Event()
    answers: list[int] = []
    slow: list[float] = []  # when they were answered
    faults: list[Exception] = []

    def load() -> None:
        settings = {"timeout": 60.0, "retry": RetryPolicy(attempts=1)}
        with RecommenderClient(f"127.0.0.1:{port}", "tiny", **settings) as client:
            while not stop.is_set():
                try:
                    client.predict("slow", {"x": [1.0]})
                    slow.append(time.monotonic())
                    answers.append(client.recommend().version)
                except UnavailableError:
                    time.sleep(0.05)  # not up yet, or going down
                except Exception as error:
                    faults.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: len(answers) > 20 or server.poll() is not None)
        told = time.monotonic()
        server.send_signal(signal.SIGTERM)
        _, log = server.communicate(timeout=60)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        if server.poll() is None:
            server.kill()
            server.communicate()
    assert server.returncode == 0, log
    assert "requests under way" in log
    assert "Stopped" in log
    assert not faults, faults[:3]
    assert slow[-1] > told  # what was under way was answered


def test_stopping_lets_requests_under_way_end(saved, serve, tmp_path, eventually):
    base = tmp_path / "base"
    saved(base, 1)
    server = serve(base)
    answers: list[float] = []

    def ask() -> None:
        with RecommenderClient(server.address, "tiny", timeout=60) as client:
            answers.append(float(client.predict("slow", {"x": [3.0]})["y"][0]))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: server.registry.find("tiny").available()[0].requests == 4)
    server.stop()
    for thread in threads:
        thread.join()
    assert answers == [3.0] * 4


def test_a_taken_port_is_said_at_once(saved, serve, tmp_path):
    base = tmp_path / "base"
    saved(base, 1)
    server = serve(base)
    with pytest.raises(StartError, match=f"Cannot listen on 127.0.0.1:{server.port}.*taken"):
        serve(base, port=server.port)
    with RecommenderClient(server.address, "tiny", timeout=60) as client:
        assert client.recommend().version == 1


def test_wrong_configurations_exit_with_their_reason(tmp_path):
    open_to_all = run(tmp_path, models=[{"base_path": str(tmp_path)}], host="0.0.0.0")
    _, log = open_to_all.communicate(timeout=60)
    assert open_to_all.returncode == 1
    assert "mutual TLS" in log
    assert "tensorflow" not in log.lower()


def test_a_wrong_key_exits_with_the_nearest_one(tmp_path):
    server = run(tmp_path, models=[{"base_path": str(tmp_path)}], portt=3)
    _, log = server.communicate(timeout=60)
    assert server.returncode == 1
    assert "`portt` is not a key of ServerConfig; the nearest is `port`." in log
    assert "http" not in log
