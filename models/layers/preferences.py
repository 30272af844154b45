"""Several preferences out of a set of nodes, and the match of those of two sets."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.layers.node_matching import masked_softmax


class PreferenceExtraction(tf.keras.layers.Layer):
    """Attends to a set of nodes K times.

        P[k] = sum_p softmax_p( w_k . tanh(W h[p]) ) h[p]

    (Lin et al. 2017, eq. 6; as interests of a user ComiRec-SA, Cen et al. 2020, eq. 6.)

    Args:
        number: K.
    """

    def __init__(self, number: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number = number

    def build(self, input_shape: Any) -> None:
        """Creates W, [d, d], and w, [d, K]."""
        self.inner = tf.keras.layers.Dense(input_shape[-1], "tanh", use_bias=False, name="inner")
        self.weigh = tf.keras.layers.Dense(self.number, use_bias=False, name="weigh")
        super().build(input_shape)

    def call(self, nodes: tf.Tensor, there: tf.Tensor) -> tf.Tensor:
        """Extracts preferences.

        Args:
            nodes: [B, n, d] float32.
            there: [B, n] bool.

        Returns:
            [B, K, d] float32; zeros for a row without nodes.
        """
        logits = tf.transpose(self.weigh(self.inner(nodes)), [0, 2, 1])  # [B, K, n]
        return tf.matmul(masked_softmax(logits, there[:, None, :]), nodes)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {"number": self.number}


class PreferenceMatching(tf.keras.layers.Layer):
    """Matches K preferences of one side with K of the other.

        M[k, l] = softmax_l( (W_p P[k]) . R[l] / sqrt(d) ),  or doubly stochastic
        out[k]  = layer norm( P[k] + sum_l M[k, l] W_o R[l] )

    Args:
        iterations: Of Sinkhorn's algorithm; 0 makes the rows of M alone sum to 1.
    """

    def __init__(self, iterations: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.iterations = iterations

    def build(self, input_shape: Any) -> None:
        """Creates W_p and W_o, [d, d]."""
        dense = tf.keras.layers.Dense
        self.project = dense(input_shape[-1], use_bias=False, name="project")
        self.message = dense(input_shape[-1], use_bias=False, name="message")
        self.norm = tf.keras.layers.LayerNormalization(name="norm")
        super().build(input_shape)

    def call(self, preferences: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
        """Matches preferences; a side that is all zeros says nothing.

        Args:
            preferences: [B, K, d] float32, P.
            others: [B, K, d] float32, R.

        Returns:
            [B, K, d] float32.
        """
        message = tf.matmul(self.assign(preferences, others), self.message(others))
        return self.norm(preferences + message)

    def assign(self, preferences: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
        """Returns M, [B, K, K] float32, of [B, K, d] and [B, K, d]."""
        products = tf.matmul(self.project(preferences), others, transpose_b=True)
        products /= tf.sqrt(tf.cast(tf.shape(others)[-1], products.dtype))
        return sinkhorn(products, self.iterations)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {"iterations": self.iterations}


def sinkhorn(logits: tf.Tensor, iterations: int) -> tf.Tensor:
    """Normalises matrices until rows and columns both sum to 1.

    Columns, then rows, are divided by their sums, `iterations` times (Sinkhorn 1964), in
    logarithms. Rows come last, so that they sum to 1 exactly, and are all that is
    normalised without iterations.

    Args:
        logits: [..., K, K] floating, the logarithms of the matrices.
        iterations: How often.

    Returns:
        [..., K, K].
    """
    for _ in range(iterations):
        logits -= tf.reduce_logsumexp(logits, axis=-2, keepdims=True)
        logits -= tf.reduce_logsumexp(logits, axis=-1, keepdims=True)
    return tf.nn.softmax(logits)
