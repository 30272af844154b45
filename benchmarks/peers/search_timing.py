"""Recall against speed of a nearest-neighbour search, the same for every engine.

NumPy alone, for a peer's process has nothing of the project.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Search = Callable[[np.ndarray], np.ndarray]
Settings = Iterator[tuple[str, Search]]
# Folder, vectors [N, d] and threads -> what is asked, with `build_s` and `bytes`.
Engine = Callable[[Path, np.ndarray, int], tuple[Settings, dict[str, Any]]]
K = 100
ENOUGH = 0.998  # recall@100 beyond which no setting is tried


def main(description: str, engines: Mapping[str, Engine]) -> None:
    """Builds one engine, measures it and writes the points.

    The folder holds `vectors.npy` [N, d] and `queries.npy` [Q, d], float32, and
    `truth.npy` [Q, K]; scores are dot products.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--engine", choices=engines, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    vectors, queries, truth = (
        np.load(options.data / f"{name}.npy") for name in ("vectors", "queries", "truth")
    )
    settings, report = engines[options.engine](options.data, vectors, options.threads)
    report["points"] = sweep(settings, queries, truth, options.batches, options.seconds)
    options.out.write_text(json.dumps(report, indent=1), encoding="utf-8")


def sweep(
    settings: Iterable[tuple[str, Search]],
    queries: np.ndarray,
    truth: np.ndarray,
    batches: Sequence[int],
    seconds: float,
) -> list[dict[str, Any]]:
    """Measures settings from the fastest on, until one finds nearly everything.

    Args:
        settings: Names of settings, and a search of [B, d] float32 that returns
            [B, K] row numbers, best first.
        queries: [Q, d] float32.
        truth: [Q, K] int, the K best rows of each query.
        batches: Queries that are asked together.
        seconds: How long each is timed at least.

    Returns:
        For each setting and batch `setting`, `batch`, `recall@10`, `recall@100`
        and `queries_per_second`.
    """
    points = []
    for setting, search in settings:
        rows = np.concatenate([search(part) for part in _parts(queries, 100)])
        found = {f"recall@{k}": recall(rows, truth, k) for k in (10, K)}
        for batch in batches:
            speed = queries_per_second(search, queries, batch, seconds)
            points.append(
                {"setting": setting, "batch": batch, **found, "queries_per_second": speed}
            )
        if found[f"recall@{K}"] >= ENOUGH:
            break
    return points


def recall(rows: np.ndarray, truth: np.ndarray, k: int) -> float:
    """Returns the share of the k best that are among the first k found, in the mean."""
    hits = (truth[:, :k, None] == rows[:, None, :k]).any(axis=2)  # [Q, k]
    return float(hits.mean())


def queries_per_second(search: Search, queries: np.ndarray, batch: int, seconds: float) -> float:
    """Asks batch after batch for at least so long; the first ten are not counted."""
    parts = [np.ascontiguousarray(part) for part in _parts(queries, batch) if len(part) == batch]
    for part in parts[:10]:
        search(part)
    asked, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        search(parts[asked % len(parts)])
        asked += 1
    return asked * batch / passed


def _parts(queries: np.ndarray, size: int) -> list[np.ndarray]:
    return [queries[start : start + size] for start in range(0, len(queries), size)]
