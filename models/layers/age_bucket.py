"""Buckets of an event's age."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

AGE_BUCKETS = 32


def age_bucket(age: tf.Tensor) -> tf.Tensor:
    """Buckets ages on a logarithmic scale: bucket = round(log2(1 + age)), at most 31.

    A bucket spans a doubling, from a second to some sixty years.

    Args:
        age: [...] float32, seconds; negative ages count as 0.

    Returns:
        [...] int32 from 0 to `AGE_BUCKETS` - 1.
    """
    logs = tf.math.log1p(tf.maximum(age, 0.0)) / np.log(2.0).astype(np.float32)
    return tf.minimum(tf.cast(tf.round(logs), tf.int32), AGE_BUCKETS - 1)
