"""Processes of this machine that train together."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 600.0  # seconds


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def steady_optimizer(name: str) -> dict[str, object]:
    """The section `optimizer` of a training whose steps depend on nothing but their batches."""
    return {
        "learning_rate": 0.05,
        "schedule": "constant",
        "name": name,
        "clip_norm": 0.1,  # below the gradients' norm
    }


def run_workers(
    folder: Path, number: int, arguments: Callable[[int], list[str]], status: int = 0
) -> None:
    """Runs Python with a worker's arguments in so many processes, and waits for them.

    Args:
        folder: Where their logs go.
        number: How many there are; the first one is the chief.
        arguments: Of each worker, by its index.
        status: What each has to end with.
    """
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(number)]}
    processes = []
    for index in range(number):
        task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}
        environment["TF_CONFIG"] = json.dumps(task)
        command = [sys.executable, *arguments(index)]
        with (folder / f"{index}.log").open("wb") as log:
            processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
    try:
        for index, process in enumerate(processes):
            ended = process.wait(timeout=PATIENCE)
            assert ended == status, (folder / f"{index}.log").read_text()[-3000:]
    finally:
        for process in processes:
            process.kill()
            process.wait()
