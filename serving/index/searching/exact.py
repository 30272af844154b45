"""Exact search: one matrix product over all candidates."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from serving.index.searching.searcher import Searcher
from serving.index.searching.searcher import combine
from serving.index.searching.searcher import hide_later
from serving.index.searching.searcher import mask_columns


class ExactIndex(Searcher):
    """Scores every candidate.

    Args:
        vectors: [N, d] float32.
        k: Results of a query.
        available_from: [N] int64, microseconds, or None.
    """

    def __init__(
        self, vectors: np.ndarray, k: int, available_from: np.ndarray | None = None
    ) -> None:
        super().__init__("exact_index", len(vectors), k, available_from, cells=2 * len(vectors))
        self.vectors = tf.Variable(vectors, trainable=False, dtype=tf.float32, name="vectors")
        if available_from is not None:
            self.available_from = tf.Variable(
                available_from, trainable=False, dtype=tf.int64, name="available_from"
            )

    def search_chunk(
        self,
        query: tf.Tensor,
        excluded: tf.Tensor,
        request_time: tf.Tensor,
        weight: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores, masks and sorts one chunk; see `Searcher.search`."""
        if query.shape.rank == 3:
            scores = combine(tf.einsum("bkd,nd->bkn", query, self.vectors), weight)  # [B, N]
        else:
            scores = tf.matmul(query, self.vectors, transpose_b=True)  # [B, N]
        if self.dated:
            scores = hide_later(scores, self.available_from[None], request_time[:, None])
        scores, rows = tf.math.top_k(mask_columns(scores, excluded), self.found)
        return rows, scores

    def vectors_at(self, rows: tf.Tensor) -> tf.Tensor:
        """Looks vectors of candidates up; see `Searcher.vectors_at`."""
        # A sparse read would make every dense one, that of `search_chunk`, copy all vectors.
        return tf.gather(self.vectors.read_value(), rows)
