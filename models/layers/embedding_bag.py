"""The sum of the embeddings of a set of tokens."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class EmbeddingBag(tf.keras.layers.Layer):
    """Embeds a padded set of tokens as the sum of its vectors over the root of its size.

        out = sum_{i: token_i != 0} E[token_i] / sqrt(max(1, |{i: token_i != 0}|))

    so that long sets neither drown nor shout. Token 0 is no token. The cost
    follows the tokens that are there, not the padding nor the vocabulary.

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
            tokens: [N, n] int, 0 is padding.

        Returns:
            [N, d] float32; zeros for an empty set.
        """
        indices = tf.where(tokens > 0)  # [P, 2], sorted by row
        distinct, index = tf.unique(tf.gather_nd(tokens, indices))  # [U], [P]
        vectors = tf.gather(self.table, distinct)  # [U, d]
        rows = tf.shape(tokens)[0]
        summed = tf.sparse.segment_sqrt_n(vectors, index, indices[:, 0], num_segments=rows)
        return tf.ensure_shape(summed, [None, self.dim])

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {"size": self.size, "dim": self.dim}
