"""Exact search, recall and latency in plain NumPy."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.index.queries import combine

_BLOCK = 256  # queries scored at a time


def exact_scores(
    vectors: np.ndarray, queries: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """Scores every candidate: [Q, d] or [Q, K, d] queries -> [Q, N]; see `recall`."""
    scores = queries @ vectors.T
    return scores if queries.ndim == 2 else combine(scores, weight)


def recall(
    vectors: np.ndarray,
    queries: np.ndarray,
    rows: np.ndarray,
    k: int,
    weight: np.ndarray | None = None,
) -> np.ndarray:
    """Measures recall@k of found rows against exact search.

    A found row is a hit when its exact score reaches the k-th best exact
    score, so that candidates with equal vectors may stand for each other.

    Args:
        vectors: [N, d] float32.
        queries: [Q, d] or [Q, K, d] float32.
        rows: [Q, >= k] int, rows of `vectors`, best first; negative = nothing found.
        k: At most N.
        weight: [Q, K] float32 of mixtures of K interests; None for the best of them.

    Returns:
        [Q] float64, the recall of each query.
    """
    kth = kth_scores(vectors, queries, k, weight)
    return recall_at(kth, vectors, queries, rows, k, weight)


def kth_scores(
    vectors: np.ndarray, queries: np.ndarray, k: int, weight: np.ndarray | None = None
) -> np.ndarray:
    """Returns the k-th best exact score of each query: [Q] float32.

    It is what takes the time when recall is measured; several searches for the
    same queries need it once.
    """
    kth = np.empty(len(queries), np.float32)
    for start in range(0, len(queries), _BLOCK):
        part = slice(start, start + _BLOCK)
        shares = None if weight is None else weight[part]
        scores = exact_scores(vectors, queries[part], shares)  # [q, N]
        kth[part] = -np.partition(-scores, k - 1, axis=1)[:, k - 1]
    return kth


def recall_at(
    kth: np.ndarray,
    vectors: np.ndarray,
    queries: np.ndarray,
    rows: np.ndarray,
    k: int,
    weight: np.ndarray | None = None,
) -> np.ndarray:
    """Measures what `recall` does, given `kth_scores`: [Q] float64."""
    found = np.empty(len(queries))
    for start in range(0, len(queries), _BLOCK):
        part = slice(start, start + _BLOCK)
        taken = without_repeats(rows[part, :k])  # [q, k]
        asked = queries[part] if queries.ndim == 3 else queries[part, None]  # [q, K, d]
        held = vectors[np.maximum(taken, 0)]  # [q, k, d]
        shares = None if weight is None else weight[part]
        reached = combine(np.einsum("qkd,qnd->qkn", asked, held), shares)
        # Sums of another order differ in the last digits of the largest product.
        size = np.linalg.norm(asked, axis=2).max(axis=1) * np.linalg.norm(held, axis=2).max(axis=1)
        hits = (taken >= 0) & (reached >= (kth[part] - 1e-6 * np.maximum(1.0, size))[:, None])
        found[part] = np.minimum(hits.sum(axis=1), k) / k
    return found


def without_repeats(rows: np.ndarray) -> np.ndarray:
    """Puts -1 in place of what a row of [Q, M] holds already."""
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, axis=1)
    ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = -1
    result = np.empty_like(rows)
    np.put_along_axis(result, order, ordered, axis=1)
    return result


def latency_ms(
    ask: Callable[[Any], Any], queries: Sequence[Any] | np.ndarray, warm_up: int = 10
) -> dict[str, Any]:
    """Asks one query after the other and returns percentiles of the time each took.

    Returns:
        {"p50": ms, "p99": ms, "queries": n}
    """
    for query in queries[:warm_up]:
        ask(query)
    taken = np.empty(len(queries))
    for i, query in enumerate(queries):
        start = time.perf_counter()
        ask(query)
        taken[i] = time.perf_counter() - start
    p50, p99 = np.percentile(taken * 1_000.0, [50, 99])
    return {"p50": round(float(p50), 4), "p99": round(float(p99), 4), "queries": len(queries)}
