"""Matching of the nodes of two graphs, with messages both ways."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class NodeMatching(tf.keras.layers.Layer):
    r"""Matches every node of one neighbourhood with every node of another.

        S[p, q]  = (W_q x[p]) . (W_k y[q]) / sqrt(d)               the matching matrix
        c[p]     = W_y sum_q softmax_q(S[p, q]) y[q]               what the others say about p
        g[p]     = sigmoid(W_g [x[p] ; c[p] ; x[p] - c[p] ; x[p] * c[p]] + b_g)
        x'[p]    = x[p] + g[p] * c[p]

    and symmetrically y'[q], from the softmax over p of the same matrix, with weights of its
    own. The messages are those of graph matching networks (Li et al. 2019, eqs. 6 to 8), with a
    learned product for the similarity and a gate in place of the difference. A node without
    others stays as it is. W_y starts at zero, so that training begins without messages.

    Args:
        dropout: Share of a message's values that are zeroed in training.
    """

    def __init__(self, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dropout = tf.keras.layers.Dropout(dropout)

    def build(self, input_shape: Any) -> None:
        """Creates the weights; both sides are d wide."""
        dim = input_shape[-1]
        dense = tf.keras.layers.Dense
        self.query = dense(dim, use_bias=False, name="query")
        self.key = dense(dim, use_bias=False, name="key")
        self.messages = [
            dense(dim, use_bias=False, kernel_initializer="zeros", name=f"message_{i}")
            for i in range(2)
        ]
        self.gates = [dense(dim, "sigmoid", name=f"gate_{i}") for i in range(2)]
        super().build(input_shape)

    def call(
        self,
        first: tf.Tensor,
        others: tf.Tensor,
        there: tf.Tensor,
        others_there: tf.Tensor,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Matches the nodes of each row.

        Args:
            first: [B, m, d] float32, x.
            others: [B, n, d] float32, y.
            there: [B, m] bool, which of the first there are.
            others_there: [B, n] bool, likewise.
            training: Whether dropout works.

        Returns:
            x' [B, m, d] and y' [B, n, d], float32.
        """
        products = tf.matmul(self.query(first), self.key(others), transpose_b=True)
        products /= tf.sqrt(tf.cast(tf.shape(first)[-1], products.dtype))  # [B, m, n]
        return (
            self._told(0, first, others, products, others_there, training),
            self._told(1, others, first, tf.transpose(products, [0, 2, 1]), there, training),
        )

    def _told(
        self,
        side: int,
        nodes: tf.Tensor,
        others: tf.Tensor,
        products: tf.Tensor,
        there: tf.Tensor,
        training: bool,
    ) -> tf.Tensor:
        """Adds to the nodes of a side what the others say about them."""
        weights = masked_softmax(products, there[:, None, :])
        message = self.messages[side](tf.matmul(weights, others))
        seen = [nodes, message, nodes - message, nodes * message]
        gated = self.gates[side](tf.concat(seen, axis=-1)) * message
        return nodes + self.dropout(gated, training=training)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {"dropout": self.dropout.rate}


def masked_softmax(logits: tf.Tensor, there: tf.Tensor) -> tf.Tensor:
    """Returns the softmax over the last axis of what is there; zeros where nothing is.

    Args:
        logits: [..., n] floating.
        there: bool, of a shape that broadcasts to it.
    """
    mask = tf.cast(there, logits.dtype)
    return tf.nn.softmax(logits + (1.0 - mask) * -1e9) * mask
