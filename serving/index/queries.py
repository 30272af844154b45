"""Embeddings of queries, as an index is tuned and measured with them. NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Queries:
    """Embeddings of Q queries.

    Attributes:
        vectors: [Q, d] float32, or [Q, K, d] for K interests.
        weight: [Q, K] float32 of mixtures of the interests; None for the best of them.
    """

    vectors: np.ndarray
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: slice) -> Queries:
        return Queries(self.vectors[rows], None if self.weight is None else self.weight[rows])


def save_queries(path: Path, queries: Queries) -> None:
    """Writes queries as an npz file."""
    arrays: dict[str, Any] = {"vectors": queries.vectors}
    if queries.weight is not None:
        arrays["weight"] = queries.weight
    np.savez(path, **arrays)


def load_queries(path: Path) -> Queries:
    """Reads queries from what `save_queries` wrote, or vectors alone from an npy file."""
    read = np.load(path, allow_pickle=False)
    if isinstance(read, np.ndarray):
        return Queries(read.astype(np.float32, copy=False))
    with read:
        return Queries(read["vectors"], read.get("weight"))


def combine(scores: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Makes one score of those of K interests, as `serving.index.searching.searcher` does.

    Args:
        scores: [Q, K, N] float32.
        weight: [Q, K] float32, not negative, or None.

    Returns:
        [Q, N] float32: the best score, or log sum_k weight[k] e^scores[k].
    """
    if weight is None:
        return scores.max(axis=1)
    with np.errstate(divide="ignore"):  # a weight of 0 takes no part
        return np.logaddexp.reduce(scores + np.log(weight)[:, :, None], axis=1)
