"""Several weighted means of a history, each with weights of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


class HistoryPooling(tf.keras.layers.Layer):
    r"""Pools the most recent events into a fixed number of vectors.

    Head h weights the event of recency rank t (0 is the newest) by

        w[h, t] = softmax_t( a[h, t] + q[h] . k[t] / sqrt(c) + b[t, h] )
        out[h]  = sum_t w[h, t] x[t]

    where `a` is learned and starts as an exponential decay, slow for the first
    head (almost the mean of the window) and fast for the last (almost the newest
    event alone); `q` is a linear map of a summary of the request (say, its
    newest items) and `k` one of the event, so that events that go with what
    the user does now count more; `b` is a bias that the caller gives. Without
    content (c = 0) this is a bank of learned moving averages. The form of the
    weights is the scaled dot product of Vaswani et al. 2017, eq. 1, with one query.

    Args:
        heads: H, the number of poolings.
        window: T, the greatest recency rank plus one.
        content_dim: c, width of the dot product; 0 leaves the term out.
        slowest: Decay a rank that the first head starts with.
        fastest: Decay a rank that the last head starts with.
    """

    def __init__(
        self,
        heads: int,
        window: int,
        content_dim: int = 0,
        slowest: float = 0.02,
        fastest: float = 1.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.heads = heads
        self.window = window
        self.content_dim = content_dim
        self.slowest = slowest
        self.fastest = fastest
        if content_dim:
            self._query = tf.keras.layers.Dense(heads * content_dim, use_bias=False, name="query")
            self._key = tf.keras.layers.Dense(content_dim, use_bias=False, name="key")

    def build(self, input_shape: Any) -> None:
        """Creates the recency weights, [H, T]."""
        decays = np.geomspace(self.slowest, self.fastest, self.heads)
        self.recency = self.add_weight(
            name="recency",
            shape=[self.heads, self.window],
            initializer=tf.constant_initializer(-decays[:, None] * np.arange(self.window)),
        )
        super().build(input_shape)

    def call(
        self,
        vectors: tf.Tensor,
        valid: tf.Tensor,
        summary: tf.Tensor | None = None,
        bias: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Pools the events of each row.

        Args:
            vectors: [B, T, d] float32, newest first; T may be less than the window.
            valid: [B, T] bool; events that are not valid have no weight.
            summary: [B, s] float32, what the content term compares events with;
                needed when `content_dim` is not 0.
            bias: [B, T, H] float32, added to the logits of the weights.

        Returns:
            [B, H, d] float32; zeros where a row has no valid event.

        Raises:
            ValueError: No summary, though the layer has a content term.
        """
        logits = self.recency[None, :, : tf.shape(vectors)[1]]  # [1, H, T]
        if self.content_dim:
            if summary is None:
                raise ValueError(
                    f"`{self.name}` weights events by content: expected a `summary` [B, s], "
                    "received None. Pass one or set `content_dim=0`."
                )
            query = tf.reshape(self._query(summary), [-1, self.heads, self.content_dim])
            match = tf.matmul(query, self._key(vectors), transpose_b=True)  # [B, H, T]
            logits += match / np.sqrt(self.content_dim).astype(np.float32)
        if bias is not None:
            logits += tf.transpose(bias, [0, 2, 1])
        mask = tf.cast(valid, vectors.dtype)[:, None, :]  # [B, 1, T]
        weights = tf.nn.softmax(logits + (1.0 - mask) * -1e9) * mask  # [B, H, T]
        return tf.matmul(weights, vectors)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {
            "heads": self.heads,
            "window": self.window,
            "content_dim": self.content_dim,
            "slowest": self.slowest,
            "fastest": self.fastest,
        }
