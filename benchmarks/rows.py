"""The two rows of the support matrix beside each other, measured in turns.

    python -m benchmarks.rows                                     # does what is missing
    python -m benchmarks.rows --only transform_events_per_second --seeds 5
    python -m benchmarks.rows --here transform_events_per_second  # this row alone, kept nowhere

It runs on the first row, and starts the second one's Python in the Debian 13 of `make test-next`,
which it builds where there is none. Each seed is measured on the first row and then on the
second, so that whatever else the machine does meets both. Rows, by `name`:

- `demo_seconds`: `vitrine demo` from its data to its answers, in an empty folder.
- `training_examples_per_second`: from files, by `benchmarks.training_throughput`.
- `transform_events_per_second`: by `benchmarks.transform_throughput`.
- `served_requests_per_second`: by a local server, to eight clients, by `benchmarks.serving`.
- `movielens_1m_two_tower_hr@10`: of the test split, by `benchmarks.movielens_1m_retrieval`.

`load` is the load average of the machine before a measurement, `cpu_seconds` the processor time
of all of it, start-up and the making of its data included: other work moves it less.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.command import vitrine
from benchmarks.environment import ROOT
from benchmarks.results import DIRECTORY
from benchmarks.results import Results
from benchmarks.results_table import render

COMMAND = "python -m benchmarks.rows"
FIRST, SECOND = "3.10", "3.12"  # as VITRINE_ROW names them
LOG = {"events": 1_000_000, "users": 6_000, "items": 20_000}  # what Transform reads
COLUMNS = ("name", "stack", "value", "cpu_seconds", "load", "runs")


def demo_seconds(folder: Path, seed: int) -> float:
    """Returns the wall time of the demo; every seed is the demo's own."""
    os.chdir(folder)  # else it finds what an earlier one has made
    started = time.perf_counter()
    vitrine("demo", "--port", "0")
    return time.perf_counter() - started


def training_examples_per_second(folder: Path, seed: int) -> float:
    """Returns the examples a second of a two-tower's training from files."""
    from benchmarks.training_throughput import training

    return training(folder / "timelines.gz", cached=False)


def transform_events_per_second(folder: Path, seed: int) -> float:
    """Returns the events a second of Transform, start-up included."""
    from benchmarks.transform_throughput import measure

    return measure(**LOG, seed=seed)["transform"]["value"]


def served_requests_per_second(folder: Path, seed: int) -> float:
    """Returns the answers a second of a local server to eight clients."""
    from benchmarks import serving

    serving.save_model(folder / "1", 1)
    options = argparse.Namespace(history=50, requests=4_000, allow_remote=False)
    with serving.local_server(folder, "recommender") as address:
        load = (address, "recommender", serving.entities(), 8, options)
        return serving.measure_address(*load)["queries_per_second"]


def two_tower_hr(folder: Path, seed: int) -> float:
    """Returns HR@10 of the two-tower on the test split of MovieLens-1M."""
    from benchmarks.movielens_1m_retrieval import BENCHMARK
    from benchmarks.retrieval import run_model
    from tfx_pipeline.datasets.registry import prepare

    (model,) = (one for one in BENCHMARK.models if one.name == "two_tower")
    prepare(BENCHMARK.source, folder / "log")
    results = Results("two_tower", COMMAND, directory=folder)
    run_model(results, model, folder / "log", folder / "runs", seed)
    return results.runs[0].values["hr@10"]


MEASURES: dict[str, Callable[[Path, int], float]] = {
    "demo_seconds": demo_seconds,
    "training_examples_per_second": training_examples_per_second,
    "transform_events_per_second": transform_events_per_second,
    "served_requests_per_second": served_requests_per_second,
    "movielens_1m_two_tower_hr@10": two_tower_hr,
}


def here(name: str, seed: int) -> dict[str, float]:
    """Measures in this process, on whichever row it runs."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        value = MEASURES[name](Path(folder), seed)
        os.chdir(ROOT)
    return {"value": value, "cpu_seconds": sum(os.times()[:4]), "load": load}


def on_row(stack: str, name: str, seed: int) -> dict[str, float]:
    """Measures in a new process of a row; returns what `here` does there.

    Raises:
        RuntimeError: The process has printed no values: the second row cannot run here.
        subprocess.CalledProcessError: The measurement failed; it has printed why.
    """
    script = [str(ROOT / "scripts" / "next.sh"), ".venv/bin/python"]
    python = [sys.executable] if stack == FIRST else script
    print(f"{name}, row {stack}, seed {seed} ...", flush=True)
    command = [*python, "-m", "benchmarks.rows", "--here", name, "--seed", str(seed)]
    printed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    last = (printed.stdout.splitlines() or [""])[-1]
    if not last.startswith("{"):
        raise RuntimeError(f"Expected values of row {stack}, received: {printed.stdout[-500:]!r}.")
    values: dict[str, float] = json.loads(last)
    return values


def compare(results: Results, name: str) -> str:
    """Returns what the second row's values are of the first one's, seed by seed."""
    rows = [
        {run.seed: run.values["value"] for run in results.runs if run.key == _key(stack, name)}
        for stack in (FIRST, SECOND)
    ]
    seeds = sorted(rows[0].keys() & rows[1].keys())
    if not seeds:
        return f"{name}: not measured on both rows"
    ratios = [rows[1][seed] / rows[0][seed] for seed in seeds]
    listed = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    return f"{name}: row {SECOND} over row {FIRST} {statistics.fmean(ratios):.3f} ({listed})"


def _key(stack: str, name: str) -> dict[str, Any]:
    return {"stack": stack, "name": name}


def main(arguments: list[str] | None = None, directory: Path = DIRECTORY) -> None:
    """Measures what is missing, prints the table and how the rows compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=MEASURES, help="one of the measurements")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--here", choices=MEASURES, help="measure this row alone, and print it")
    parser.add_argument("--seed", type=int, default=0, help="of --here")
    options = parser.parse_args(arguments)
    if options.here:
        print(json.dumps(here(options.here, options.seed)))
        return
    if not platform.python_version().startswith(f"{FIRST}."):
        raise SystemExit(f"Expected Python {FIRST}, received {platform.python_version()}.")
    results = Results("rows", COMMAND, directory=directory)
    chosen = [options.only] if options.only else list(MEASURES)
    if options.fresh:
        results.runs = [run for run in results.runs if run.key["name"] not in chosen]
    for name in chosen:
        for seed in range(options.seeds):
            for stack in (FIRST, SECOND):
                once = functools.partial(on_row, stack, name, seed)
                results.measure(_key(stack, name), seed, once, LOG if "transform" in name else {})
    results.runs.sort(key=lambda run: (list(MEASURES).index(str(run.key["name"])), run.seed))
    results.save()
    print(render(results.path, COLUMNS, digits=3))
    for name in dict.fromkeys(str(run.key["name"]) for run in results.runs):
        print(compare(results, name))


if __name__ == "__main__":
    main()
