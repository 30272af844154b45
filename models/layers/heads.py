"""Divides vectors into the heads of an attention, and joins them again."""

from __future__ import annotations

import tensorflow as tf


def split_heads(values: tf.Tensor, parts: int, heads: int) -> list[tf.Tensor]:
    """Divides what one product gave for several purposes, e.g. queries, keys and values.

    Args:
        values: [B, T, parts d] floating.
        parts: How many purposes.
        heads: H, which divides d.

    Returns:
        For each part [B, H, T, d / H].
    """
    shape = tf.shape(values)
    width = values.shape[-1] // parts // heads
    divided = tf.reshape(values, [shape[0], shape[1], parts, heads, width])
    return tf.unstack(tf.transpose(divided, [2, 0, 3, 1, 4]))


def join_heads(values: tf.Tensor) -> tf.Tensor:
    """Joins heads: [B, H, T, c] -> [B, T, H c]."""
    shape, width = tf.shape(values), values.shape[1] * values.shape[3]
    return tf.reshape(tf.transpose(values, [0, 2, 1, 3]), [shape[0], shape[2], width])
