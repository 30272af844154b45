"""Sampled negatives, and how often each item is expected among a batch's negatives."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


class NegativeSampler(tf.Module):
    r"""Draws negatives by a mix of popularity and chance, and knows the odds exactly.

    A negative is item j with probability

        r[j] = u / M + (1 - u) c[j]^a / sum_i c[i]^a      over the M items with c > 0

    for training counts c, exponent a and uniform share u; draws are independent,
    with replacement. In a batch of B targets, which are item j with probability
    p[j] = c[j] / sum_i c[i], a row then meets item j among its negatives

        n[j] = (B - 1) p[j] + Q p[j] + N r[j]

    times on average, Q of them out of earlier batches (without the first term when in-batch
    targets are no negatives). log n[j] is what logQ subtracts; see `models.tasks.retrieval`.

    Args:
        counts: [V + 1] numbers >= 0, how often each item is a training target,
            up to a factor.
        exponent: a.
        uniform_share: u.
        in_batch: Whether the other targets of the batch are negatives.

    Raises:
        ValueError: No item has a count.
    """

    def __init__(
        self,
        counts: np.ndarray,
        exponent: float = 0.75,
        uniform_share: float = 0.5,
        in_batch: bool = True,
    ) -> None:
        super().__init__(name="negatives")
        counts = np.asarray(counts, np.float64)
        self.trained = trained_items(counts)  # [M]
        positive = counts[self.trained]
        powered = positive**exponent
        drawn = uniform_share / positive.size + (1 - uniform_share) * powered / powered.sum()
        cumulative = np.cumsum(drawn)
        # float64: with a million items, float32 could not tell neighbours apart.
        self._cumulative = tf.constant(cumulative / cumulative[-1])
        self.trained_ids = tf.constant(self.trained, tf.int64)
        self._drawn = _spread(drawn, self.trained, counts.size)
        self._target = _spread(positive / positive.sum(), self.trained, counts.size)
        self._in_batch = in_batch

    def sample(self, number: int, seed: tf.Tensor) -> tf.Tensor:
        """Draws negatives.

        Args:
            number: N.
            seed: [2] int64; equal seeds draw equally, so that replicas share negatives.

        Returns:
            [N] int64 item indices.
        """
        uniform = tf.random.stateless_uniform([number], seed, dtype=tf.float64)
        index = tf.searchsorted(self._cumulative, uniform, side="right")
        return tf.gather(self.trained_ids, tf.minimum(index, tf.size(self.trained_ids) - 1))

    def probability(self, items: tf.Tensor) -> tf.Tensor:
        """Returns r, with which one draw is each of the items.

        Args:
            items: [n] int64.

        Returns:
            [n] float32; 0 for items that training has not as a target.
        """
        return tf.gather(self._drawn, items)

    def log_expected_count(
        self, items: tf.Tensor, batch: tf.Tensor, number: int, queue: int = 0
    ) -> tf.Tensor:
        """Returns log n, how often a row meets each item among its negatives.

        Args:
            items: [n] int64.
            batch: B, scalar int, targets in the batch.
            number: N, sampled negatives.
            queue: Q, targets of earlier batches.

        Returns:
            [n] float32, finite: items that are never drawn count as drawn once
            in 1e30 batches.
        """
        expected = float(number) * tf.gather(self._drawn, items)
        others = tf.constant(queue, tf.float32)
        if self._in_batch:
            others += tf.cast(batch - 1, tf.float32)
        expected += others * tf.gather(self._target, items)
        return tf.math.log(tf.maximum(expected, 1e-30))


def trained_items(counts: np.ndarray) -> np.ndarray:
    """Returns the items that training has as targets, [M] int64, ascending.

    Args:
        counts: [V + 1] numbers >= 0.

    Raises:
        ValueError: No item has a count.
    """
    trained = np.flatnonzero(np.asarray(counts) > 0)
    if not trained.size:
        raise ValueError(
            "Expected the count of at least one training target, received none. Check that "
            "`target_events` and `candidate_types` name what the event log holds."
        )
    return trained


def _spread(values: np.ndarray, indices: np.ndarray, size: int) -> tf.Tensor:
    table = np.zeros([size], np.float32)
    table[indices] = values
    return tf.constant(table)
