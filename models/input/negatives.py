"""Random negatives of pages of events: items that were available then, each as likely."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Items:
    """The candidates: a positive is one of them, and negatives are drawn from them.

    Attributes:
        ids: [n] int64, entity indices, by the moment from which they are available.
        available_from: [n] int64, these moments in microseconds; 0 is always.
        is_item: [m] bool, by entity index; m - 1 stands for all greater ones and is none.
    """

    ids: np.ndarray
    available_from: np.ndarray
    is_item: np.ndarray

    @classmethod
    def of(cls, ids: np.ndarray, available_from: np.ndarray | None = None) -> Items:
        """Makes the items.

        Args:
            ids: [n] int64, entity indices.
            available_from: [V + 1] int64, by entity index; None where all always are.
        """
        moments = np.zeros_like(ids) if available_from is None else available_from[ids]
        order = np.argsort(moments, kind="stable")
        is_item = np.zeros(ids.max() + 2, bool)
        is_item[ids] = True
        return cls(ids[order], moments[order], is_item)

    def hold(self, entity: tf.Tensor) -> tf.Tensor:
        """Says which entities are items: [...] int64 -> [...] bool."""
        return tf.gather(self.is_item, tf.minimum(entity, len(self.is_item) - 1))

    def draw(self, time: tf.Tensor, count: int, seed: tf.Tensor) -> tf.Tensor:
        """Draws among the items of each moment, with replacement; among all where there is none.

        Args:
            time: [P] int64, microseconds.
            count: Draws for each moment.
            seed: [2] int64.

        Returns:
            [P, count] int64, entity indices.
        """
        number = tf.searchsorted(tf.constant(self.available_from), time, side="right")
        number = tf.where(number > 0, number, len(self.ids))  # [P]
        random = tf.random.stateless_uniform([tf.size(time), count], seed, dtype=tf.float64)
        drawn = tf.cast(random * tf.cast(number, tf.float64)[:, None], tf.int64)
        return tf.gather(tf.constant(self.ids, tf.int64), drawn)
