"""Buckets of ages of events and of lengths of histories."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

AGE_BUCKETS = 32
VALUE_BUCKETS = 16
LENGTH_BUCKETS = 16


def age_bucket(age: tf.Tensor) -> tf.Tensor:
    """Buckets ages on a logarithmic scale: bucket = round(log2(1 + seconds)), at most 31.

    A bucket spans a doubling, from a second to some sixty years. Ages are integers, so that
    a difference of two ages is exact and its bucket the same whatever they count from.

    Args:
        age: [...] int64, microseconds; negative ages count as 0.

    Returns:
        [...] int32 from 0 to `AGE_BUCKETS` - 1.
    """
    seconds = tf.cast(tf.maximum(age, 0), tf.float32) / 1e6
    logs = tf.math.log1p(seconds) / np.log(2.0).astype(np.float32)
    return tf.minimum(tf.cast(tf.round(logs), tf.int32), AGE_BUCKETS - 1)


def age_bucket_starts() -> tuple[int, ...]:
    """Returns the least age of each bucket after the first, microseconds.

    An age that is within the rounding of float32 of one may be in the bucket before.
    """
    starts = np.exp2(np.arange(AGE_BUCKETS - 1) + 0.5) - 1.0  # seconds
    return tuple(int(start) for start in np.ceil(1e6 * starts))


def value_bucket(value: tf.Tensor) -> tf.Tensor:
    """Buckets values of events, such as ratings: rounded (half to even), from 0 to 15.

    Args:
        value: [...] float32.

    Returns:
        [...] int32.
    """
    return tf.clip_by_value(tf.cast(tf.round(value), tf.int32), 0, VALUE_BUCKETS - 1)


def length_bucket(length: tf.Tensor) -> tf.Tensor:
    """Buckets lengths on a logarithmic scale: bucket = round(log2(1 + length)), at most 15.

    Args:
        length: [...] int, events of a history.

    Returns:
        [...] int32 from 0 to `LENGTH_BUCKETS` - 1.
    """
    logs = tf.math.log1p(tf.cast(length, tf.float32)) / np.log(2.0).astype(np.float32)
    return tf.minimum(tf.cast(tf.round(logs), tf.int32), LENGTH_BUCKETS - 1)
