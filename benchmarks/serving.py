"""Latency and throughput of a server, beside calling the SavedModel directly.

    python -m benchmarks.serving                                         # a model made for it
    python -m benchmarks.serving --base-path pushed/retrieval --name my_shop     # a pushed model

The second asks a server that runs already with `--address 127.0.0.1:8500 --target tf_serving`.

Rows are kept by the model's name, so that several models stand side by side. Targets of
`benchmarks/results/serving.json`: `saved_model` is the signature called in process,
`local_server` the local server in a process of its own, `local_server_library` the same
through the whole client library, and `local_server_swap` 10,000 requests while five
versions come and go. Load generator and server share the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import Results
from benchmarks.serving_load import make_requests
from benchmarks.serving_model import entities
from benchmarks.serving_model import save_model
from serving.child_process import ending_with_parent
from serving.client import RecommenderClient
from serving.client import RetryPolicy
from serving.client.calls import recommend_inputs

SWAPS = 5
SWAP_REQUESTS = 10_000
SWAP_CLIENTS = 8


def measure_address(
    address: str, model: str, ids: list[str], clients: int, options: argparse.Namespace, *more: str
) -> dict[str, float]:
    """Loads a server from a process of its own; returns the values of a row."""
    process = start_load(address, model, ids, clients, options.requests, options, *more)
    output, errors = process.communicate()
    return finish_load(process, output, errors)


def start_load(
    address: str,
    model: str,
    ids: list[str],
    clients: int,
    requests: int,
    options: argparse.Namespace,
    *more: str,
) -> subprocess.Popen[str]:
    """Starts the load generator and tells it the ids of histories."""
    command = [sys.executable, "-m", "benchmarks.serving_load", address, model]
    command += ["--clients", str(clients), "--requests", str(requests)]
    command += ["--history", str(options.history), *more]
    if options.allow_remote:
        command.append("--allow-remote")
    process = subprocess.Popen(
        ending_with_parent(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write("\n".join(ids))
    process.stdin.close()
    process.stdin = None
    return process


def finish_load(process: subprocess.Popen[str], output: str, errors: str) -> dict[str, float]:
    """Returns what the load generator printed.

    Raises:
        RuntimeError: it failed.
    """
    if process.returncode:
        raise RuntimeError(f"The load generator failed: {errors[-2000:]}")
    values: dict[str, float] = json.loads(output)
    return values


def measure_directly(path: Path, ids: list[str], clients: int, options: argparse.Namespace) -> Any:
    """Calls the SavedModel's signature from threads of this process."""
    import tensorflow as tf

    recommend = tf.saved_model.load(str(path)).signatures["recommend"]
    specs = recommend.structured_input_signature[1]
    made = [recommend_inputs([r]) for r in make_requests(ids, options.history, seed=0)]
    latencies: list[float] = []

    def ask(number: int) -> None:
        inputs = made[number % len(made)]
        start = time.perf_counter()
        tensors = {name: tf.constant(inputs[name], spec.dtype) for name, spec in specs.items()}
        answer = recommend(**tensors)
        _ = {name: value.numpy() for name, value in answer.items()}
        latencies.append(time.perf_counter() - start)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(ask, range(100)))
        latencies.clear()
        start = time.perf_counter()
        list(pool.map(ask, range(options.requests)))
        seconds = time.perf_counter() - start
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
    speed = options.requests / seconds
    return {"p50_ms": p50, "p99_ms": p99, "queries_per_second": speed, "errors": 0}


@contextlib.contextmanager
def local_server(base_path: Path, model: str, **settings: Any) -> Iterator[str]:
    """Runs the local server in a process of its own; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = {
        "models": [{"name": model, "base_path": str(base_path)}],
        "port": port,
        "rest_port": None,
        **settings,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(json.dumps(config))
        file.flush()
        command = [sys.executable, "-W", "ignore", "-m", "serving.local_server", file.name]
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(ending_with_parent(command), stderr=log)
            try:
                _wait_until_up(f"127.0.0.1:{port}", model, process, log)
                yield f"127.0.0.1:{port}"
            finally:
                process.terminate()
                process.wait(timeout=60)


def _wait_until_up(address: str, model: str, process: subprocess.Popen[bytes], log: Any) -> None:
    patient = RetryPolicy(attempts=1000, max_delay=0.5)
    with RecommenderClient(address, model, timeout=180, retry=patient) as client:
        waiter = threading.Thread(target=client.metadata)
        waiter.start()
        while waiter.is_alive():
            waiter.join(0.5)
            if process.poll() is not None:
                log.seek(0)
                raise RuntimeError(f"The local server ended: {log.read()[-2000:]}")


def measure_swap(scratch: Path, ids: list[str], options: argparse.Namespace) -> dict[str, float]:
    """Sends 10,000 requests while five more versions come and each earlier one goes."""
    base, store = scratch / "swap", scratch / "store"
    base.mkdir()
    store.mkdir()
    for version in range(1, SWAPS + 2):
        save_model(store / str(version), version)
    (store / "1").rename(base / "1")
    with local_server(base, "swap", poll_seconds=0.1) as address:
        process = start_load(
            address, "swap", ids, SWAP_CLIENTS, SWAP_REQUESTS, options, "--versioned"
        )
        assert process.stderr is not None
        lines: list[str] = []
        step = SWAP_REQUESTS // (SWAPS + 1) // 1000 * 1000  # progress comes by thousands
        coming = {n * step: n + 1 for n in range(1, SWAPS + 1)}
        for line in process.stderr:
            lines.append(line)
            number = int(line.split()[1]) if line.startswith("progress") else 0
            if number in coming:
                version = coming[number]
                (store / str(version)).rename(base / str(version))
                (base / str(version - 1)).rename(store / f"gone-{version - 1}")
        assert process.stdout is not None
        output = process.stdout.read()
        process.wait()
        return finish_load(process, output, "".join(lines))


def known_ids(base_path: Path | None) -> list[str]:
    """Returns ids for histories: the pushed index's, or the made model's."""
    if base_path is None:
        return entities()
    from transforms.arrow import read_table

    newest = max((p for p in base_path.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    ids: list[str] = read_table(newest / "index" / "candidates.parquet")["id"].to_pylist()
    return ids


def run(options: argparse.Namespace, scratch: Path) -> Results:
    """Measures what is missing from the result file and returns it."""
    results = Results("serving", "python -m benchmarks.serving", options.fresh)
    base_path, ids = options.base_path, known_ids(options.base_path)
    configuration = {
        "pushed": base_path is not None,
        "items": len(ids),
        "history": options.history,
        "requests": options.requests,
    }

    def row(target: str, clients: int, measure: Any, **more: Any) -> None:
        key: dict[str, str | int | float | bool] = {
            "model": options.name,
            "target": target,
            "clients": clients,
        }
        done = results.measure(key, 0, measure, {**configuration, **more})
        print(f"{target:<22} {clients:>4} clients  " + _text(done.values), flush=True)

    if options.address:
        for clients in options.clients:
            row(
                options.target,
                clients,
                lambda c=clients: measure_address(options.address, options.name, ids, c, options),
            )
        return results
    if base_path is None:
        base_path = scratch / "base"
        base_path.mkdir()
        save_model(base_path / "1", 1)
    newest = max((p for p in base_path.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    for clients in options.clients:
        row("saved_model", clients, lambda c=clients: measure_directly(newest, ids, c, options))
    with local_server(base_path, options.name) as address:
        for clients in options.clients:
            row(
                "local_server",
                clients,
                lambda c=clients: measure_address(address, options.name, ids, c, options),
            )
        row(
            "local_server_library",
            1,
            lambda: measure_address(address, options.name, ids, 1, options, "--library"),
        )
    if not options.no_swap:
        row(
            "local_server_swap",
            SWAP_CLIENTS,
            lambda: measure_swap(scratch, entities(), options),
            requests=SWAP_REQUESTS,
            swaps=SWAPS,
        )
    return results


def _text(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:,.2f}" for name, value in values.items())


def main() -> None:
    """Parses the command line and runs what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-path", type=Path, help="pushed versions; a model is made if unset")
    parser.add_argument("--name", default="recommender", help="name of the model, and of its rows")
    parser.add_argument("--address", help="measure this server alone")
    parser.add_argument("--target", default="address", help="what the rows call that server")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--history", type=int, default=50, help="mean length of a history")
    parser.add_argument("--no-swap", action="store_true", help="leave out the swap under load")
    parser.add_argument("--allow-remote", action="store_true", help="also load other machines")
    parser.add_argument("--fresh", action="store_true", help="forget the rows that are there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run(options, Path(scratch))


if __name__ == "__main__":
    main()
