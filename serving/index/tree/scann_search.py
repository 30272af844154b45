"""Questions to a ScaNN searcher, with one or several vectors a query."""

from __future__ import annotations

from typing import Any

import numpy as np

from serving.index.queries import combine
from serving.index.search_quality import without_repeats

_BLOCK = 256  # mixtures scored at a time


def search(
    searcher: Any,
    queries: np.ndarray,
    k: int,
    reorder: int | None,
    leaves: int | None,
    weight: np.ndarray | None = None,
    vectors: np.ndarray | None = None,
) -> np.ndarray:
    """Finds the k best rows for each query.

    Several vectors of one query are searched one by one and merged: a
    candidate's score is its best over them. In a mixture each brings twice as many, and
    what any of them found is scored by all.

    Args:
        searcher: Of `scann_ops_pybind`, or a `MergedSearcher`.
        queries: [Q, d] or [Q, K, d] float32.
        k: Results of a query, at most the number of candidates.
        reorder: Candidates that are scored again exactly; the searcher's own if None.
        leaves: Leaves to search; the searcher's own if None.
        weight: [Q, K] float32 of mixtures of K interests; None for the best of them.
        vectors: [N, d] float32, the candidates, which mixtures are scored with.

    Returns:
        [Q, k] int64, best first; -1 where fewer were found.
    """
    interests = 1 if queries.ndim == 2 else queries.shape[1]
    flat = np.ascontiguousarray(queries.reshape(-1, queries.shape[-1]), dtype=np.float32)
    if weight is not None:
        assert vectors is not None
        rows, _ = ask(searcher, flat, min(2 * k, len(vectors)), reorder, leaves)
        return _best_of_mixtures(rows.reshape(len(queries), -1), queries, weight, vectors, k)
    rows, scores = ask(searcher, flat, k, reorder, leaves)  # [Q * K, k]
    if interests == 1:
        return rows
    rows = rows.reshape(len(queries), -1)  # [Q, K * k]
    scores = scores.reshape(len(queries), -1)
    return _merge(rows, scores, k)


def ask(
    searcher: Any, flat: np.ndarray, k: int, reorder: int | None, leaves: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k best rows for each vector, as `search` does for [Q, d].

    Returns:
        Rows [Q, k] int64 and scores [Q, k] float32, best first; -1 and -inf
        where fewer were found.
    """
    # ScaNN 1.3 takes None as "the searcher's own", and 1.4 does not.
    settings = {} if reorder is None else {"pre_reorder_num_neighbors": max(k, reorder)}
    if leaves is not None:
        settings["leaves_to_search"] = leaves
    rows, scores = searcher.search_batched(flat, final_num_neighbors=k, **settings)
    rows, scores = np.asarray(rows, np.int64), np.asarray(scores, np.float32)
    missing = ~np.isfinite(scores)
    rows = np.where(missing, -1, rows)
    if rows.shape[1] < k:
        gap = ((0, 0), (0, k - rows.shape[1]))
        rows = np.pad(rows, gap, constant_values=-1)
        scores = np.pad(scores, gap, constant_values=-np.inf)
    return rows, np.where(rows < 0, -np.inf, scores)


def _best_of_mixtures(
    rows: np.ndarray, queries: np.ndarray, weight: np.ndarray, vectors: np.ndarray, k: int
) -> np.ndarray:
    """Keeps the k best rows by the scores of mixtures: [Q, M] -> [Q, k]."""
    rows = without_repeats(rows)
    best = []
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        held = np.asarray(vectors[np.maximum(rows[part], 0)])  # [q, M, d]
        scores = combine(np.einsum("qkd,qmd->qkm", queries[part], held), weight[part])
        scores[rows[part] < 0] = -np.inf
        best.append(np.argsort(-scores, axis=1, kind="stable")[:, :k])
    return np.take_along_axis(rows, np.concatenate(best), axis=1)


def _merge(rows: np.ndarray, scores: np.ndarray, k: int) -> np.ndarray:
    """Keeps the best score of each row, and the k best rows: [Q, M] -> [Q, k]."""
    by_row = np.lexsort((-scores, rows), axis=1)
    rows = np.take_along_axis(rows, by_row, axis=1)
    scores = np.take_along_axis(scores, by_row, axis=1)
    scores[:, 1:][rows[:, 1:] == rows[:, :-1]] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(rows, best, axis=1)
    return np.where(np.isinf(np.take_along_axis(scores, best, axis=1)), -1, kept)
