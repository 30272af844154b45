"""Candidates of pages as one row a page, and back: what is of the page is computed once."""

from __future__ import annotations

import tensorflow as tf


def places(row: tf.Tensor, pages: tf.Tensor) -> tf.Tensor:
    """Returns the place of each candidate: [I, 2] int64, its page and its rank there.

    Args:
        row: [I] int64, the page of each candidate, ascending.
        pages: Scalar, P.
    """
    starts = tf.searchsorted(row, tf.range(tf.cast(pages, row.dtype)), out_type=tf.int64)  # [P]
    rank = tf.range(tf.size(row, tf.int64), dtype=tf.int64) - tf.gather(starts, row)
    return tf.stack([tf.cast(row, tf.int64), rank], axis=1)


def by_page(values: tf.Tensor, place: tf.Tensor, pages: tf.Tensor) -> tf.Tensor:
    """Lays candidates out by page: [I, d] -> [P, C, d], C the most of a page, zeros behind.

    Args:
        values: [I, d].
        place: Of `places`.
        pages: Scalar, P.
    """
    most = tf.reduce_max(tf.concat([place[:, 1] + 1, [0]], axis=0))
    width = values.shape[1]
    padded = tf.scatter_nd(place, values, tf.stack([tf.cast(pages, tf.int64), most, width]))
    return tf.ensure_shape(padded, [None, None, width])


def of_candidates(padded: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """Returns what each candidate has: [P, C, d] -> [I, d]; the inverse of `by_page`."""
    return tf.gather_nd(padded, place)
