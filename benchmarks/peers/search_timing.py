"""Recall against speed of a nearest-neighbour search, the same for every engine.

NumPy alone, for a peer's process has nothing of the project.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import numpy as np

Search = Callable[[np.ndarray], np.ndarray]
K = 100
ENOUGH = 0.998  # recall@100 beyond which no setting is tried


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
