"""Chooses how many leaves a search visits and how many candidates it scores again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from serving.index import search_quality
from serving.index.config import BuildConfig
from serving.index.queries import Queries
from serving.index.tree import scann_search
from serving.index.tree.scann_files import Partition

# Of the leaves.
_SHARES = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0)
_DEPTHS = (2, 4, 8, 16, 32)  # times recall_at
_EXACT_COST = 20  # codes looked at in the time of one candidate's exact score


def tune(
    searcher: Any,
    vectors: np.ndarray,
    queries: Queries | None,
    config: BuildConfig,
    partition: Partition,
) -> dict[str, Any]:
    """Finds the cheapest leaves and depth that reach the target recall.

    The cost of a search is the codes that it looks at, and 20 for each candidate that it scores
    again: so much longer its vector takes ScaNN, being anywhere in memory.

    Every setting of the grid is measured, not only those up to the target: the
    curve shows what more or less recall would cost.

    Args:
        searcher: A ScaNN searcher with a tree.
        vectors: [N, d] float32.
        queries: What to ask, or None: nothing is measured then.
        config: The target; what it sets is not tuned.
        partition: The tree.

    Returns:
        {"leaves_to_search", "reorder", "recall_at" (K), "target_recall", "tuned_on" (queries),
        "curve": [{"leaves_to_search", "reorder", "scanned", "recall"}, ...]}; the widest search
        when none reaches the target. `scanned` is the mean number of candidates whose codes a
        query looks at.
    """
    size, leaves = vectors.shape[0], len(partition.centres)
    k = min(config.recall_at, size)
    chosen = {
        "leaves_to_search": config.default_leaves_to_search(size, leaves),
        "reorder": config.default_reorder(size),
    }
    aim = {"recall_at": k, "target_recall": config.target_recall}
    asked = 0 if queries is None else len(queries)
    settled = config.leaves_to_search is not None and config.reorder is not None
    if queries is None or not asked or settled:
        return {**chosen, **aim, "tuned_on": 0, "curve": []}
    asked_with, weight = queries.vectors, queries.weight
    kth = search_quality.kth_scores(vectors, asked_with, k, weight)
    scanned = _scanned(asked_with, partition)
    curve: list[dict[str, Any]] = []
    for visited, depth in _grid(config, leaves, size):
        rows = scann_search.search(searcher, asked_with, k, depth, visited, weight, vectors)
        found = search_quality.recall_at(kth, vectors, asked_with, rows, k, weight)
        curve.append(
            {
                "leaves_to_search": visited,
                "reorder": depth,
                "scanned": round(float(scanned[visited - 1]), 1),
                "recall": round(float(found.mean()), 5),
            }
        )
    enough = [point for point in curve if point["recall"] >= config.target_recall]
    best = min(enough, key=_cost) if enough else curve[-1]
    chosen = {name: best[name] for name in chosen}
    return {**chosen, **aim, "tuned_on": asked, "curve": curve}


def _cost(point: dict[str, Any]) -> float:
    """Returns what a search costs, in codes looked at."""
    return float(point["scanned"] + _EXACT_COST * point["reorder"])


def _scanned(queries: np.ndarray, partition: Partition) -> np.ndarray:
    """Returns [L]: candidates in the best 1, 2, ... leaves of a query, in the mean."""
    members = np.bincount(partition.leaf, minlength=len(partition.centres))
    flat = queries.reshape(-1, queries.shape[-1])
    order = np.argsort(-(flat @ partition.centres.T), axis=1)
    return members[order].cumsum(axis=1).mean(axis=0) * (len(flat) / len(queries))


def _grid(config: BuildConfig, leaves: int, size: int) -> Iterator[tuple[int, int]]:
    """Yields every number of leaves with each depth, from the smallest on."""
    if config.leaves_to_search:
        visited = [min(leaves, config.leaves_to_search)]
    else:
        visited = sorted({max(1, math.ceil(leaves * share)) for share in _SHARES})
    if config.reorder:
        depths = [config.default_reorder(size)]
    else:
        depths = sorted({min(size, config.recall_at * times) for times in _DEPTHS})
    return itertools.product(visited, depths)
