"""The mean of the embeddings of a set of tokens."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class Bag(tf.keras.layers.Layer):
    """Embeds a padded set of tokens as the sum of its vectors over the root of its size.

        out = sum_{i: token_i != 0} E[token_i] / sqrt(max(1, |{i: token_i != 0}|))

    so that long sets neither drown nor shout. Token 0 is no token.

    Args:
        size: The greatest token plus one.
        dim: d, length of a vector.
    """

    def __init__(self, size: int, dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.dim = dim

    def build(self, input_shape: Any) -> None:
        """Creates the table, [size, d]."""
        self.table = self.add_weight(
            name="table",
            shape=[self.size, self.dim],
            initializer=tf.keras.initializers.RandomNormal(stddev=0.05),
        )
        super().build(input_shape)

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """Embeds sets of tokens.

        Args:
            tokens: [..., n] int, 0 is padding.

        Returns:
            [..., d] float32; zeros for an empty set.
        """
        present = tf.cast(tokens > 0, tf.float32)  # [..., n]
        total = tf.reduce_sum(tf.gather(self.table, tokens) * present[..., None], axis=-2)
        count = tf.maximum(tf.reduce_sum(present, axis=-1, keepdims=True), 1.0)
        return total * tf.math.rsqrt(count)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {"size": self.size, "dim": self.dim}
