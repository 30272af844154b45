"""Which negatives a row has already seen."""

from __future__ import annotations

import tensorflow as tf


def seen_mask(seen: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Says which of a list of items each row has seen, without comparing all pairs.

    The seen ids are searched for in the sorted items (S log N comparisons a row
    instead of S N), and hits are scattered.

    Args:
        seen: [B, S] int64 ids, 0 is none.
        items: [N] int64 ids, N > 0, in any order, duplicates allowed.

    Returns:
        [B, N] bool.
    """
    distinct, place = tf.unique(items)  # [U], [N]
    order = tf.argsort(distinct)
    ascending = tf.gather(distinct, order)  # [U]
    wanted = tf.reshape(seen, [-1])  # [B S]
    found = tf.minimum(tf.searchsorted(ascending, wanted), tf.size(ascending) - 1)
    hit = tf.equal(tf.gather(ascending, found), wanted) & (wanted > 0)
    rows = tf.repeat(tf.range(tf.shape(seen)[0]), tf.shape(seen)[1])
    pairs = tf.boolean_mask(tf.stack([rows, tf.gather(order, found)], axis=1), hit)
    shape = tf.stack([tf.shape(seen)[0], tf.size(distinct)])
    marked = tf.scatter_nd(pairs, tf.ones([tf.shape(pairs)[0]], tf.int32), shape)  # [B, U]
    return tf.gather(marked > 0, place, axis=1)
