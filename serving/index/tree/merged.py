"""The searchers of an index's parts, asked as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.index.tree import scann_search


class MergedSearcher:
    """Asks every part the same question and merges the answers by score.

    Each part scores as many candidates again as one searcher over everything
    would: what that one would have scored is among these, so the merged answer
    is as good or better, score by score.

    Args:
        searchers: Of `scann_ops_pybind`, in the order of their rows.
    """

    docids = None  # as of a ScaNN searcher without them

    def __init__(self, searchers: Sequence[Any]) -> None:
        self.searchers = list(searchers)
        sizes = [searcher.size() for searcher in self.searchers]
        self._first = np.cumsum([0, *sizes])[:-1]
        self._size = sum(sizes)

    def size(self) -> int:
        """Returns N, the candidates of all parts."""
        return self._size

    def search_batched(
        self,
        queries: np.ndarray,
        final_num_neighbors: int,
        pre_reorder_num_neighbors: int | None = None,
        leaves_to_search: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Does what a ScaNN searcher's `search_batched` does.

        Args:
            queries: [Q, d] float32.
            final_num_neighbors: k.
            pre_reorder_num_neighbors: Candidates that each part scores again.
            leaves_to_search: Leaves that each part searches; they have the same centres.

        Returns:
            Rows [Q, k] int64 of the whole index and scores [Q, k] float32, best
            first; -1 and -inf where fewer were found.
        """
        found = [
            scann_search.ask(
                searcher, queries, final_num_neighbors, pre_reorder_num_neighbors, leaves_to_search
            )
            for searcher in self.searchers
        ]
        rows = np.concatenate(
            [
                np.where(own < 0, -1, own + first)
                for (own, _), first in zip(found, self._first, strict=True)
            ],
            axis=1,
        )  # [Q, parts * k]
        scores = np.concatenate([own for _, own in found], axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :final_num_neighbors]
        return np.take_along_axis(rows, best, axis=1), np.take_along_axis(scores, best, axis=1)
