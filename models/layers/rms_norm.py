"""Root mean square normalisation."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def inverse_rms(vectors: tf.Tensor, epsilon: float = 1e-6) -> tf.Tensor:
    """Returns what scales vectors to a root mean square of 1: [..., d] -> [..., 1] floating.

        out = 1 / sqrt(mean(x^2) + eps)

    The mean is taken in float32.
    """
    square = tf.square(tf.cast(vectors, tf.float32))
    mean = tf.reduce_mean(square, axis=-1, keepdims=True)
    return tf.cast(tf.math.rsqrt(mean + epsilon), vectors.dtype)


class RMSNorm(tf.keras.layers.Layer):
    r"""Scales vectors to a root mean square of 1, then each value by a learned factor.

        out = g * x / sqrt(mean(x^2) + eps)

    (Zhang & Sennrich 2019, eq. 4.) Layer normalisation without the mean and the
    bias: two passes less over the values, which is what normalisation costs.

    Args:
        epsilon: eps, keeps zero vectors finite.
    """

    def __init__(self, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: Any) -> None:
        """Creates the factors, [d]."""
        self.scale = self.add_weight(name="scale", shape=[input_shape[-1]], initializer="ones")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Normalises [..., d] floating; the mean is taken in float32."""
        return inputs * inverse_rms(inputs, self.epsilon) * self.scale

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {"epsilon": self.epsilon}
