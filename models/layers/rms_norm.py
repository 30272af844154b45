"""Root mean square normalisation."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


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
        square = tf.square(tf.cast(inputs, tf.float32))
        mean = tf.reduce_mean(square, axis=-1, keepdims=True)
        return inputs * tf.cast(tf.math.rsqrt(mean + self.epsilon), inputs.dtype) * self.scale

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {"epsilon": self.epsilon}
