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

        cell(x)      = argmin_n |x - c_n|
        r_h[n]       = max over candidates i of  q_i^h . c_n - max_{n' in history} q_i^h . c_n'
        relevance[l] = max over heads h of  r_h[cell(item[l])] + b_h[l]

    r is the logarithm of the weight that an event of the cell gets beside the best of the
    history, from the candidate to which it matters most. An event costs its cell, a
    number of two bytes, and no vector (the inverted file of Jegou et al. 2011, section 4, with
    one list of cells for a page). It has no gradient; `fit` makes the weights.

    Args:
        items: V + 1, the greatest entity index plus one.
        dim: d, width of items.
        cells: N, at most 65,536.
        events: E, the length of the shortlist.
    """

    def __init__(self, items: int, dim: int, cells: int, events: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.items, self.dim = items, dim
        self.cells, self.events = cells, events
        given: dict[str, Any] = {"initializer": "zeros", "trainable": False}
        self.centroids = self.add_weight(name="centroids", shape=[cells, dim], **given)
        self.cell_of = self.add_weight(name="cell_of", shape=[items], dtype=tf.uint16, **given)

    def fit(self, vectors: np.ndarray, seed: int = 0) -> None:
        """Fits the centroids by k-means, and finds the cell of each item.

        Args:
            vectors: [V + 1, d] float32; 0 is unknown, and not fitted to.
            seed: Of the points that are taken, and of the first centroids.
        """
        centroids = fit_codebook(vectors[1:], self.cells, np.random.default_rng(seed))
        self.centroids.assign(centroids)
        half = (centroids**2).sum(axis=1) / 2.0
        parts = np.split(vectors, range(_CHUNK, len(vectors), _CHUNK))
        found = [np.argmin(half - part @ centroids.T, axis=1) for part in parts]
        self.cell_of.assign(np.concatenate(found).astype(np.uint16))

    def call(
        self,
        vectors: tf.Tensor,
        row: tf.Tensor,
        events: tf.Tensor,
        mask: tf.Tensor,
        bias: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Finds the most relevant events of each page.

        Args:
            vectors: [I, H, d] float32, q, what candidates multiply items with.
            row: [I] int64, the page of each candidate, ascending.
            events: [P, L] integers, the items.
            mask: [P, L] float32, 1 where there is an event.
            bias: [P, L, H] float32, b, added to the scores of events; none when None.

        Returns:
            [P, E] int32, positions in ascending order, and [P, E] float32, 1 where there is an
            event; E is at most L.
        """
        pages = tf.shape(mask)[0]
        cells = tf.cast(tf.gather(self.cell_of, events), tf.int32)  # [P, L]
        there = tf.math.bincount(cells, mask, self.cells, self.cells, axis=-1) > 0.0  # [P, N]
        scores = tf.einsum("ihd,nd->ihn", vectors, self.centroids)
        least = tf.float32.min / 4.0  # that sums do not overflow
        scores = tf.where(tf.gather(there, row)[:, None], scores, least)
        scores -= tf.reduce_max(scores, axis=-1, keepdims=True)
        if bias is None:
            scores = tf.reduce_max(scores, axis=1, keepdims=True)
        relevance = tf.math.unsorted_segment_max(scores, row, pages)  # [P, H or 1, N]
        relevance = tf.transpose(tf.maximum(relevance, least), [0, 2, 1])
        relevance = tf.gather(relevance, cells, batch_dims=1)  # [P, L, H or 1]
        if bias is not None:
            relevance += bias
        relevance = tf.reduce_max(relevance, axis=-1)
        found, _ = best_events(relevance[:, None, None], mask, self.events)
        found = tf.sort(found[:, 0, 0], axis=-1)  # as in the history: ties are broken alike
        return found, tf.gather(mask, found, batch_dims=1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        more = {"items": self.items, "dim": self.dim, "cells": self.cells, "events": self.events}
        return super().get_config() | more
