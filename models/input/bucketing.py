"""Groups sequences of like length into full batches, so that an epoch is exactly one pass."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

_LEAST = 4  # batches in a bucket, unless its lengths would differ too much
_GROWTH = 1.5  # the most by which the longest length of a bucket is above the shortest


@dataclasses.dataclass(frozen=True)
class Buckets:
    """Lengths that share batches, and how many sequences a batch has.

    Attributes:
        lengths: The longest padded length of each bucket, ascending.
        rows: Sequences in a batch of each bucket.
        batches: Batches of all buckets in an epoch; exact, whatever the order of sequences.
    """

    lengths: tuple[int, ...]
    rows: tuple[int, ...]
    batches: int

    @classmethod
    def plan(cls, counts: np.ndarray, events: int) -> Buckets:
        """Divides lengths into buckets that fill some batches each.

        Args:
            counts: [longest + 1] int, how many sequences of each padded length there are.
            events: Places in a batch, padding included.

        Returns:
            The buckets. Batches of one bucket are equally full; a bucket of a few rare
            lengths may not fill its only batch.
        """
        found = np.flatnonzero(counts).tolist()
        lengths: list[int] = []
        rows: list[int] = []
        batches, held, shortest = 0, 0, 0
        for length, longer in zip(found, [*found[1:], np.inf], strict=True):
            held += int(counts[length])
            shortest = shortest or length
            most = max(1, events // length)  # sequences that fit
            if held < _LEAST * most and longer <= _GROWTH * shortest:
                continue
            even = -(-held // -(-held // most))  # as many in each of the bucket's batches
            lengths.append(length)
            rows.append(even)
            batches += -(-held // even)
            held, shortest = 0, 0
        return cls(tuple(lengths), tuple(rows), batches)

    def share(self, replicas: int) -> Buckets:
        """Returns the same with the rows that each of some replicas takes of a batch."""
        return dataclasses.replace(self, rows=tuple(-(-one // replicas) for one in self.rows))

    def fill(
        self, lengths: tf.Tensor, is_last: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Fills batches with sequences, in random order.

        Args:
            lengths: [W] int64, padded.
            is_last: Scalar bool, whether no more sequences come: then batches that are not full
                are made of what is left.
            seed: [2] int64.

        Returns:
            The sequences of all batches, one batch after the other, [n] int64; where each batch
            begins in that, and the last one ends, [batches + 1] int64; and the
            sequences that are left for later, [W - n] int64.
        """
        bucket = tf.searchsorted(tf.constant(self.lengths, tf.int64), lengths)  # [W] int32
        order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(lengths, tf.int64)), seed)
        order = tf.gather(order, tf.argsort(tf.gather(bucket, order), stable=True))
        bucket = tf.gather(bucket, order)  # ascending
        rows = tf.gather(tf.constant(self.rows), bucket)
        first = tf.searchsorted(bucket, bucket, side="left")
        number = tf.searchsorted(bucket, bucket, side="right") - first  # in the same bucket
        rank = tf.range(tf.size(order)) - first
        taken = is_last | (rank < number // rows * rows)
        begins = tf.boolean_mask(tf.equal(rank % rows, 0), taken)
        chosen = tf.boolean_mask(order, taken)
        splits = tf.concat([tf.where(begins)[:, 0], [tf.size(chosen, tf.int64)]], axis=0)
        return chosen, splits, tf.boolean_mask(order, ~taken)
