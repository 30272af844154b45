"""Candidates that do not count for a row, as the columns of each row's scores."""

from __future__ import annotations

import tensorflow as tf

# Below any score, yet finite, so that no gradient is NaN.
NEVER = -1e30


def seen_columns(seen: tf.Tensor, items: tf.Tensor, targets: tf.Tensor) -> tf.RaggedTensor:
    """Says which of a list of items each row has seen, without comparing all pairs.

    The seen ids are searched for in the sorted items: S log N comparisons a row
    instead of S N.

    Args:
        seen: [B, S] int64 ids, 0 is none.
        items: [N] int64 ids, N > 0, distinct, in any order.
        targets: [B] int64 ids, each row's target, which never counts as seen.

    Returns:
        [B, (columns)] int32, positions in `items`.
    """
    order = tf.argsort(items)
    ascending = tf.gather(items, order)  # [N]
    found = tf.searchsorted(ascending, tf.reshape(seen, [-1]))
    found = tf.reshape(tf.minimum(found, tf.size(ascending) - 1), tf.shape(seen))  # [B, S]
    hit = tf.equal(tf.gather(ascending, found), seen)
    hit &= (seen > 0) & tf.not_equal(seen, targets[:, None])
    return tf.ragged.boolean_mask(tf.gather(order, found), hit)


def earlier_columns(
    columns: tf.Tensor, counts: tf.Tensor, rows: tf.Tensor, positions: tf.Tensor, targets: tf.Tensor
) -> tf.RaggedTensor:
    """Says which candidates came up to given positions of sequences.

    Args:
        columns: [B, T] int32, the candidate that each event is.
        counts: [B, T] bool, whether the event is a candidate at all.
        rows: [P] int64, the sequence of each query.
        positions: [P] int64, the query's position there; events up to it have been seen.
        targets: [P] int32, the candidate that is each query's target, which never
            counts as seen.

    Returns:
        [P, (columns)] int32.
    """
    length = tf.shape(columns, tf.int64)[1]
    earlier = tf.range(length)[None, :] <= positions[:, None]  # [P, T]
    found = tf.gather(columns, rows)  # [P, T]
    earlier &= tf.gather(counts, rows) & tf.not_equal(found, targets[:, None])
    return tf.ragged.boolean_mask(found, earlier)


def leave_out(scores: tf.Tensor, excluded: tf.RaggedTensor | None) -> tf.Tensor:
    """Replaces the scores of excluded columns, so that no size of score brings them back.

    Args:
        scores: [B, N] floating.
        excluded: [B, (columns)] int; nothing is left out when None.

    Returns:
        [B, N], `NEVER` where excluded.
    """
    if excluded is None:
        return scores
    rows = tf.cast(excluded.value_rowids(), tf.int32)
    pairs = tf.stack([rows, tf.cast(excluded.flat_values, tf.int32)], axis=1)
    never = tf.fill([tf.shape(pairs)[0]], tf.constant(NEVER, scores.dtype))
    return tf.tensor_scatter_nd_update(scores, pairs, never)


def replace_own(scores: tf.Tensor, labels: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Replaces each row's score of its own label.

    Args:
        scores: [B, N] floating.
        labels: [B] int, a column for each row.
        values: [B] floating.

    Returns:
        [B, N].
    """
    rows = tf.range(tf.size(labels), dtype=labels.dtype)
    return tf.tensor_scatter_nd_update(scores, tf.stack([rows, labels], axis=1), values)
