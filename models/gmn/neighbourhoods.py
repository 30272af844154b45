"""Neighbourhoods of a user in two graphs, cut from one window."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from models.input import batch as b

KINDS = 2  # candidates, and all other entities
LENGTHS = "neighbours/length"  # [B, 2] int64, how many neighbours of each kind there are
_EVENTS = (b.HISTORY_ENTITY, b.HISTORY_TYPE, b.HISTORY_AGE)


class Neighbourhoods(tf.keras.layers.Layer):
    """Divides the events of a window by the kind of their entity.

    The user-video and the user-item graph are the events of a log; the neighbours of a user in
    each are the events of one kind, edges with their type and age. An entity that is
    bought twice is two neighbours.

    Args:
        is_candidate: [V + 1] bool, which entities are of the first kind.
        neighbours: n, the most of each kind.
        sampled: Whether training draws n at random where there are more.
        dropout: Share of the neighbours that training hides.
        in_training: The most of each kind in training; n when None.
    """

    def __init__(
        self,
        is_candidate: np.ndarray,
        neighbours: int,
        sampled: bool = False,
        dropout: float = 0.0,
        in_training: int | None = None,
    ) -> None:
        super().__init__(name="neighbourhoods")
        self.neighbours = neighbours
        self.sampled = sampled
        self.dropout = dropout
        self.in_training = in_training or neighbours
        self.is_candidate = self.add_weight(
            name="is_candidate",
            shape=is_candidate.shape,
            dtype=tf.bool,
            initializer=lambda *_, **__: tf.constant(is_candidate),
            trainable=False,
        )

    def call(
        self, windows: Mapping[str, tf.Tensor], training: bool = False
    ) -> dict[str, tf.Tensor]:
        """Chooses the neighbours of each row.

        Args:
            windows: By name (`models.input.batch`), B rows of T >= n events, newest first.
            training: Whether neighbours are drawn, if that is how they are chosen, and hidden.

        Returns:
            The windows, with 2 n events a row in place of T, newest first within each kind:
            n of the first kind, n of the other, padded with 0; and `LENGTHS`. In training n is
            `in_training`.
        """
        entity = windows[b.HISTORY_ENTITY]  # [B, T]
        there = tf.sequence_mask(windows[b.HISTORY_LENGTH], tf.shape(entity)[1])
        if training and self.dropout:
            there &= tf.random.uniform(tf.shape(entity)) >= self.dropout
        is_first = tf.gather(self.is_candidate, entity)
        order = -tf.cast(tf.range(tf.shape(entity)[1])[None, :], tf.float32)
        if training and self.sampled:
            order = tf.random.uniform(tf.shape(entity)) - 1.0
        number = self.in_training if training else self.neighbours
        chosen = [self._choose(order, there & kind, number) for kind in (is_first, ~is_first)]
        index, valid = (tf.concat(parts, axis=1) for parts in zip(*chosen, strict=True))
        lengths = [tf.reduce_sum(tf.cast(kind, tf.int64), axis=1) for _, kind in chosen]
        arranged = {
            name: tf.where(valid, tf.gather(windows[name], index, batch_dims=1), 0)
            for name in _EVENTS
            if name in windows
        }
        return {**windows, **arranged, LENGTHS: tf.stack(lengths, axis=1)}

    @staticmethod
    def _choose(order: tf.Tensor, eligible: tf.Tensor, number: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the positions of the first n eligible events, and which there are, [B, n]."""
        ranked = tf.where(eligible, order, -np.inf)
        found, index = tf.math.top_k(ranked, number)
        return index, tf.math.is_finite(found)

    def kind_of(self, arranged: Mapping[str, tf.Tensor], kind: int) -> dict[str, tf.Tensor]:
        """Returns the windows of one kind, n events a row, out of what the call returned."""
        windows = {
            name: tf.split(arranged[name], KINDS, axis=1)[kind]
            for name in _EVENTS
            if name in arranged
        }
        return windows | {b.HISTORY_LENGTH: arranged[LENGTHS][:, kind]}
