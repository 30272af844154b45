"""The coarse level of a search: cells of items, and the events of the cells that matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from models.layers.multi_head_target_attention import best_events
from models.layers.product_quantisation import fit_codebook

_CHUNK = 4_096  # items that are assigned at a time


class CoarseCells(tf.keras.layers.Layer):
    r"""Shortlists events by the cells of their items, for all candidates of a page together.

        cell(x)      = argmin_n |x - c_n|,   k_n^h = W_K^h c_n
        r_h[n]       = max over candidates i of  q_i^h . k_n^h - max_{m in history} q_i^h . k_m^h
        relevance[l] = max over heads h of  r_h[cell(item[l])] + b_h[l]

    r is the logarithm of the weight that an event of the cell gets beside the best of the
    history, from the candidate to which it matters most. An event costs its cell, a
    number of two bytes, and no vector (the inverted file of Jegou et al. 2011, section 4, with
    one list of cells for a page). It has no gradient; `fit` makes the weights.

    Args:
        items: V + 1, the greatest entity index plus one.
        dim: d, width of items.
        heads: H, which divide the dimension.
        cells: N, at most 65,536.
        events: E, the length of the shortlist for one candidate.
        more: By how much each further candidate of a page makes it longer.
    """

    def __init__(
        self,
        items: int,
        dim: int,
        heads: int,
        cells: int,
        events: int,
        more: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.items, self.dim, self.heads = items, dim, heads
        self.cells, self.events, self.more = cells, events, more
        given: dict[str, Any] = {"initializer": "zeros", "trainable": False}
        self.keys = self.add_weight(name="keys", shape=[heads, cells, dim // heads], **given)
        self.cell_of = self.add_weight(name="cell_of", shape=[items], dtype=tf.uint16, **given)

    def fit(self, vectors: np.ndarray, kernel: np.ndarray, seed: int = 0) -> None:
        """Fits the centroids by k-means, projects them, and finds the cell of each item.

        Args:
            vectors: [V + 1, d] float32; 0 is unknown, and not fitted to.
            kernel: [d, d] float32, W_K of all heads side by side.
            seed: Of the points that are taken, and of the first centroids.
        """
        centroids = fit_codebook(vectors[1:], self.cells, np.random.default_rng(seed))
        keys = np.reshape(centroids @ kernel, [self.cells, self.heads, -1])
        self.keys.assign(keys.transpose(1, 0, 2))
        half = (centroids**2).sum(axis=1) / 2.0
        parts = np.split(vectors, range(_CHUNK, len(vectors), _CHUNK))
        found = [np.argmin(half - part @ centroids.T, axis=1) for part in parts]
        self.cell_of.assign(np.concatenate(found).astype(np.uint16))

    def call(
        self,
        queries: tf.Tensor,
        row: tf.Tensor,
        events: tf.Tensor,
        mask: tf.Tensor,
        bias: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Finds the most relevant events of each page.

        Args:
            queries: [I, H, d / H] float32, q, what candidates multiply keys with.
            row: [I] int64, the page of each candidate, ascending.
            events: [P, L] integers, the items.
            mask: [P, L] float32, 1 where there is an event.
            bias: [P, L, H] float32, b, added to the scores of events; none when None.

        Returns:
            [P, E] int32, positions in any order, and [P, E] float32, 1 where there is an event;
            E is at most L, and what the page of the most candidates is to have.
        """
        relevance = self._relevance(queries, row, events, mask, bias)
        most = tf.reduce_max(tf.math.bincount(tf.cast(row, tf.int32), minlength=1))
        wanted = self.events + self.more * tf.maximum(most - 1, 0)
        found, _ = best_events(relevance[:, None, None], mask, wanted, in_order=False)
        found = found[:, 0, 0]
        return found, tf.gather(mask, found, batch_dims=1)

    def _relevance(
        self,
        queries: tf.Tensor,
        row: tf.Tensor,
        events: tf.Tensor,
        mask: tf.Tensor,
        bias: tf.Tensor | None,
    ) -> tf.Tensor:
        """Returns the relevance of events, [P, L] float32."""
        pages = tf.shape(mask)[0]
        cells = tf.cast(tf.gather(self.cell_of, events), tf.int32)  # [P, L]
        there = tf.math.bincount(cells, mask, self.cells, self.cells, axis=-1) > 0.0  # [P, N]
        scores = tf.matmul(tf.transpose(queries, [1, 0, 2]), self.keys, transpose_b=True)
        least = tf.float32.min / 4.0  # that sums do not overflow
        scores = tf.where(tf.gather(there, row), scores, least)  # [H, I, N]
        scores -= tf.reduce_max(scores, axis=-1, keepdims=True)
        if bias is None:
            scores = tf.reduce_max(scores, axis=0, keepdims=True)
        scores = tf.transpose(scores, [1, 0, 2])
        relevance = tf.math.unsorted_segment_max(scores, row, pages)  # [P, H or 1, N]
        relevance = tf.maximum(relevance, least)
        if bias is None:
            return tf.gather(relevance[:, 0], cells, batch_dims=1)
        relevance = tf.gather(tf.transpose(relevance, [0, 2, 1]), cells, batch_dims=1)
        return tf.reduce_max(relevance + bias, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        names = ("items", "dim", "heads", "cells", "events", "more")
        return super().get_config() | {name: getattr(self, name) for name in names}
