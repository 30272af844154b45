"""Chooses how many leaves a search visits and how many candidates it scores again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from serving.index import scann_search
from serving.index import search_quality
from serving.index.config import BuildConfig

_SHARES = (
    0.01,
    0.02,
    0.035,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.75,
    1.0,
)  # of the leaves
_DEPTHS = (4, 8, 16, 32)  # times recall_at


def tune(
    searcher: Any,
    vectors: np.ndarray,
    queries: np.ndarray | None,
    config: BuildConfig,
    leaves: int,
) -> dict[str, Any]:
    """Finds the fewest leaves, and then the smallest depth, that reach the target recall.

    Args:
        searcher: A ScaNN searcher with a tree.
        vectors: [N, d] float32.
        queries: [Q, d] or [Q, K, d] float32, or None: nothing is measured then.
        config: The target; what it sets is not tuned.
        leaves: Leaves of the tree.

    Returns:
        {"leaves_to_search", "reorder", "tuned_on" (queries), "curve": [{"leaves_to_search",
        "reorder", "recall"}, ...]}; the widest search when none reaches the target.
    """
    size = vectors.shape[0]
    chosen = {
        "leaves_to_search": config.default_leaves_to_search(size, leaves),
        "reorder": config.default_reorder(size),
    }
    asked = 0 if queries is None else len(queries)
    settled = config.leaves_to_search is not None and config.reorder is not None
    if queries is None or not asked or settled:
        return {**chosen, "tuned_on": 0, "curve": []}
    k = min(config.recall_at, size)
    curve: list[dict[str, Any]] = []
    for visited, depth in _grid(config, leaves, size):
        rows = scann_search.search(searcher, queries, k, depth, visited)
        measured = float(search_quality.recall(vectors, queries, rows, k).mean())
        chosen = {"leaves_to_search": visited, "reorder": depth}
        curve.append({**chosen, "recall": round(measured, 5)})
        if measured >= config.target_recall:
            break
    return {**chosen, "tuned_on": asked, "curve": curve}


def _grid(config: BuildConfig, leaves: int, size: int) -> Iterator[tuple[int, int]]:
    """Yields settings from the cheapest on: leaves first, then depth at all leaves."""
    if config.leaves_to_search:
        visited = [min(leaves, config.leaves_to_search)]
    else:
        visited = sorted({max(1, math.ceil(leaves * share)) for share in _SHARES})
    if config.reorder:
        depths = [config.default_reorder(size)]
    else:
        depths = sorted({min(size, config.recall_at * times) for times in _DEPTHS})
    for leaf_count in visited:
        yield leaf_count, depths[0]
    for depth in depths[1:]:
        yield visited[-1], depth
