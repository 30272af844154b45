"""Which negatives a row has already seen."""

from __future__ import annotations

import tensorflow as tf


def seen_mask(seen: tf.Tensor, items: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Says which of a list of items each row has seen, without comparing all pairs.

    The seen ids are searched for in the sorted items (S log N comparisons a row
    instead of S N), and hits are scattered.

    Args:
        seen: [B, S] int64 ids, 0 is none.
        items: [N] int64 ids, N > 0, distinct, in any order.
        targets: [B] int64 ids, each row's target, which never counts as seen.

    Returns:
        [B, N] bool.
    """
    seen = tf.where(tf.equal(seen, targets[:, None]), tf.zeros_like(seen), seen)
    order = tf.argsort(items)
    ascending = tf.gather(items, order)  # [N]
    wanted = tf.reshape(seen, [-1])  # [B S]
    found = tf.minimum(tf.searchsorted(ascending, wanted), tf.size(ascending) - 1)
    hit = tf.equal(tf.gather(ascending, found), wanted) & (wanted > 0)
    rows = tf.repeat(tf.range(tf.shape(seen)[0]), tf.shape(seen)[1])
    pairs = tf.boolean_mask(tf.stack([rows, tf.gather(order, found)], axis=1), hit)
    shape = tf.stack([tf.shape(seen)[0], tf.size(items)])
    return tf.scatter_nd(pairs, tf.ones([tf.shape(pairs)[0]], tf.bool), shape)
