"""Small operations on ragged features."""

from __future__ import annotations

import tensorflow as tf


def first_or(values: tf.RaggedTensor, default: int) -> tf.Tensor:
    """Returns the first value of each row.

    Args:
        values: [B, (values)], any number of values in a row.
        default: What a row without values gets.

    Returns:
        [B], the dtype of `values`.
    """
    filler = tf.fill([values.nrows(), 1], tf.cast(default, values.dtype))
    return tf.concat([values, filler], axis=1).to_tensor(shape=[None, None])[:, 0]


def positions(values: tf.RaggedTensor) -> tf.Tensor:
    """Returns the position of each value in its row.

    Args:
        values: [B, (values)].

    Returns:
        [V] int64 for the V values of all rows, each row counted from 0.
    """
    starts = tf.gather(values.row_starts(), values.value_rowids())  # [V]
    return tf.range(tf.size(starts, tf.int64), dtype=tf.int64) - starts


def per_value(rows: tf.Tensor, like: tf.RaggedTensor) -> tf.Tensor:
    """Repeats one value a row for each value of a ragged tensor.

    Args:
        rows: [B], one value a row.
        like: [B, (values)], V values in all.

    Returns:
        [V], the dtype of `rows`.
    """
    return tf.gather(rows, like.value_rowids())
