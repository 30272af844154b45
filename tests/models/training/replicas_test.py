"""Two workers on this machine against one: the same loss, the same weights."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
WORKER = Path(__file__).parent / "replica_worker.py"


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def train(folder: Path, workers: int, *what: str) -> dict[str, np.ndarray]:
    """Trains some steps in so many processes; returns the chief's weights and losses."""
    folder.mkdir()
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(workers)]}
    processes = []
    for index in range(workers):
        task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}
        environment["TF_CONFIG"] = json.dumps(task)
        command = [sys.executable, str(WORKER), str(folder / f"{index}.npz"), *what]
        log = (folder / f"{index}.log").open("wb")
        processes.append(
            subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        )
    for index, process in enumerate(processes):
        assert process.wait(timeout=300) == 0, (folder / f"{index}.log").read_text()[-3000:]
    assert [path.name for path in folder.glob("*.model")] == ["0.npz.model"]
    found = [dict(np.load(folder / f"{index}.npz")) for index in range(workers)]
    for name, values in found[0].items():
        if name != "losses":
            np.testing.assert_array_equal(values, found[-1][name], err_msg=name)
    found[0]["losses"] = sum(one["losses"] for one in found)
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    [
        ("sequence", "sampled_softmax", "adagrad"),  # in-batch negatives of unequal shares
        ("two_tower", "full_softmax", "lazy_adam"),
    ],
    ids="-".join,
)
def test_two_workers_train_what_one_trains(tmp_path: Path, what: tuple[str, ...]) -> None:
    one = train(tmp_path / "one", 1, *what)
    two = train(tmp_path / "two", 2, *what)

    assert one.keys() == two.keys() and len(one) > 5
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-4)
    assert one["losses"][2] != one["losses"][0]  # of the same batch
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, atol=2e-4, err_msg=name)
