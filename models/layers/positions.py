"""Ways to tell an attention where events are, and when they were."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.layers.buckets import AGE_BUCKETS
from models.layers.buckets import age_bucket


class RelativePositionBias(tf.keras.layers.Layer):
    """A learned bias for each distance between the query's position and the key's.

        out[h, i, j] = a[i - j, h]

    (Shaw et al. 2018 with the bias of Raffel et al. 2020, section 2.1, one for every
    distance; it is what HSTU calls relative positions.)

    Args:
        heads: H.
        length: T, the longest sequence; greater distances count as T - 1.
    """

    def __init__(self, heads: int, length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads = heads
        self.length = length

    def build(self, input_shape: Any) -> None:
        """Creates the biases, [2 length - 1, H], for distances from far ahead to far back."""
        shape = [2 * self.length - 1, self.heads]
        self.table = self.add_weight(name="table", shape=shape, initializer="zeros")
        super().build(input_shape)

    def call(self, events: tf.Tensor) -> tf.Tensor:
        """Returns [1, H, T, T] floating, query by key, for events [B, T, d]."""
        position = tf.range(tf.shape(events)[1])
        far = self.length - 1
        distance = (
            tf.clip_by_value(position[:, None] - position[None, :], -far, far) + far
        )  # [T, T]
        return tf.transpose(tf.gather(self.table, distance), [2, 0, 1])[None]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {"heads": self.heads, "length": self.length}


class TimeBias(tf.keras.layers.Layer):
    """A learned bias for how long before a query's request an event was.

        out[b, h, i, j] = a[bucket(age[b, j] - request_age[b, i]), h]

    with buckets that widen with the age. (HSTU, Zhai et al. 2024, section 3.1: the
    query's time is that of the event to be predicted.)

    Args:
        heads: H.
    """

    def __init__(self, heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads = heads

    def build(self, input_shape: Any) -> None:
        """Creates the biases, [buckets, H]."""
        shape = [AGE_BUCKETS, self.heads]
        self.table = self.add_weight(name="table", shape=shape, initializer="zeros")
        super().build(input_shape)

    def call(self, ages: tf.Tensor, request_ages: tf.Tensor) -> tf.Tensor:
        """Computes biases.

        Args:
            ages: [B, T] int64, microseconds, of the events.
            request_ages: [B, T] int64, of the requests that follow them.

        Returns:
            [B, H, T, T] floating, query by key.
        """
        passed = ages[:, None, :] - request_ages[:, :, None]  # [B, T, T]
        return tf.transpose(tf.gather(self.table, age_bucket(passed)), [0, 3, 1, 2])

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {"heads": self.heads}


def rotate(vectors: tf.Tensor, base: float = 10_000.0) -> tf.Tensor:
    r"""Turns queries or keys by their position, so that their products see distances alone.

    The values i and i + c/2 of the vector at position t are turned as a pair by the
    angle t base^(-2i/c). (Rotary positions, Su et al. 2021, eq. 34.)

    Args:
        vectors: [..., T, c] floating, c even.
        base: How slowly the slowest pair turns.

    Returns:
        [..., T, c].
    """
    half = vectors.shape[-1] // 2
    position = tf.range(tf.shape(vectors)[-2], dtype=tf.float32)
    speed = base ** (-tf.range(half, dtype=tf.float32) / half)
    angle = position[:, None] * speed[None, :]  # [T, c / 2]
    cos, sin = tf.cast(tf.cos(angle), vectors.dtype), tf.cast(tf.sin(angle), vectors.dtype)
    one, two = vectors[..., :half], vectors[..., half:]
    return tf.concat([one * cos - two * sin, one * sin + two * cos], axis=-1)
