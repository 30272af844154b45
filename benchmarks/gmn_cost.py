"""What GMN costs beside the two-tower and the control without matching, by turns in one process.

    python -m benchmarks.gmn_cost

On the simulated shop of `benchmarks.gmn_shop`, videos being candidates. `examples_per_second` are
those of compiled training steps on a batch in memory: the median of the turns. `p50_ms` and
`p99_ms` are of one compiled request: one user's window as a server has it, embedded and scored
against all videos, of which the best 50 are taken. `two_tower` reads videos alone, in a window of
as many events as GMN's neighbours of both kinds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import models  # noqa: F401  (before TensorFlow)

# isort: split
import numpy as np
import tensorflow as tf

from benchmarks import gmn_shop
from benchmarks.environment import ROOT
from benchmarks.gmn import make_towers
from benchmarks.results import DIRECTORY
from benchmarks.results import Results
from benchmarks.results_table import render
from models.input import batch as b
from models.layers.mixture import score_items

if TYPE_CHECKING:
    from benchmarks.two_kinds import Task
    from benchmarks.two_kinds_towers import Towers

NAME = "gmn_cost"
ROWS = ("two_tower", "pooled", "gmn")
COLUMNS = ("model", "examples_per_second", "p50_ms", "p99_ms", "p99_ratio", "runs")


def training_step(towers: Towers, size: int) -> Callable[[], None]:
    """Returns what does a step on a batch of so many examples."""
    users, candidates = towers.data.candidates.nonzero()
    chosen = np.random.default_rng(0).permutation(len(users))[:size]
    windows = towers.windows(users[chosen].astype(np.int64), 1 + candidates[chosen])
    windows[b.TARGET_ENTITY] = 1 + candidates[chosen].astype(np.int64)
    batch = {name: tf.constant(value) for name, value in windows.items()}
    step = tf.function(towers.model.train_step)

    def run() -> None:
        tf.nest.map_structure(np.asarray, step(batch))

    return run


def request(towers: Towers) -> Callable[[int], None]:
    """Returns what answers one user."""
    users, size = towers.data.candidates.shape
    items = towers.model.embed_items(tf.range(1, 1 + size, dtype=tf.int64))

    @tf.function(reduce_retracing=True)
    def answer(windows: dict[str, tf.Tensor]) -> tf.Tensor:
        scores = score_items(towers.model.embed_queries(windows), items)
        return tf.math.top_k(scores, 50).indices

    given = towers.windows(np.arange(users))

    def run(user: int) -> None:
        answer({name: tf.constant(value[user : user + 1]) for name, value in given.items()}).numpy()

    return run


def measure(task: Task, turns: int, requests: int, size: int) -> dict[str, dict[str, float]]:
    """Measures all rows by turns.

    Returns:
        Values by row.
    """
    made: dict[str, Any] = {}
    for row in ROWS:
        towers = make_towers(task.data, row, gmn_shop.BENCHMARK.config(row, 0, {}))
        made[row] = training_step(towers, size), request(towers)
    rates: dict[str, list[float]] = {row: [] for row in ROWS}
    times: dict[str, list[float]] = {row: [] for row in ROWS}
    for turn in range(turns + 1):  # the first one compiles
        for row, (step, _) in made.items():
            started = time.perf_counter()
            step()
            if turn:
                rates[row].append(size / (time.perf_counter() - started))
        for user in range(requests):
            for row, (_, answer) in made.items():
                started = time.perf_counter()
                answer(user)
                if turn:
                    times[row].append(1e3 * (time.perf_counter() - started))
    p99 = {row: float(np.percentile(times[row], 99)) for row in ROWS}
    return {
        row: {
            "examples_per_second": float(np.median(rates[row])),
            "p50_ms": float(np.percentile(times[row], 50)),
            "p99_ms": p99[row],
            "p99_ratio": p99[row] / p99["two_tower"],
        }
        for row in ROWS
    }


def main() -> None:
    """Measures, keeps and prints."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--requests", type=int, default=100, help="of a turn")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--log-dir", type=Path, default=ROOT / "data" / "shop")
    parser.add_argument("--results-dir", type=Path, default=DIRECTORY)
    options = parser.parse_args()
    task = gmn_shop.read(options.log_dir, "video")
    results = Results(NAME, f"python -m benchmarks.{NAME}", True, options.results_dir)
    started = time.perf_counter()
    found = measure(task, options.turns, options.requests, options.batch_size)
    seconds = (time.perf_counter() - started) / len(ROWS)
    settings = {"turns": options.turns, "requests": options.requests, "batch": options.batch_size}
    for row, values in found.items():
        results.measure({"model": row}, 0, partial(dict, values), settings, seconds)
    print(render(results.path, COLUMNS))


if __name__ == "__main__":
    main()
