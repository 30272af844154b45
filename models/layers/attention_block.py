"""A transformer's block."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.layers.heads import join_heads
from models.layers.heads import split_heads
from models.layers.positions import rotate
from models.layers.rms_norm import RMSNorm


class AttentionBlock(tf.keras.layers.Layer):
    r"""Softmax attention and a feed-forward layer, each with a residual connection.

        x = x + drop(W_o [softmax(Q_h K_h' / sqrt(c) + bias_h) V_h]_h),   Q, K, V of norm(x)
        x = x + drop(W_2 relu(W_1 norm(x)))

    (Vaswani et al. 2017, section 3, normalised before each part.)

    Args:
        heads: H; they divide the dimension, c = d / H.
        feed_forward_multiplier: Width of the feed-forward layer, in dimensions.
        dropout: Share of what each part adds that is zeroed in training.
        rotary: Whether queries and keys are turned by their position.
    """

    def __init__(
        self,
        heads: int,
        feed_forward_multiplier: float = 4.0,
        dropout: float = 0.0,
        rotary: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.heads, self.feed_forward_multiplier, self.dropout, self.rotary = (
            heads,
            feed_forward_multiplier,
            dropout,
            rotary,
        )

    def build(self, input_shape: Any) -> None:
        """Creates the block's layers for inputs [B, T, d]."""
        dim, policy = input_shape[-1], self._dtype_policy

        def dense(width: int, name: str, activation: str | None = None) -> tf.keras.layers.Dense:
            return tf.keras.layers.Dense(width, activation, False, name=name, dtype=policy)

        self.attention_norm = RMSNorm(name="attention_norm", dtype=policy)
        self.inputs = dense(3 * dim, "inputs")
        self.outputs = dense(dim, "outputs")
        self.feed_forward_norm = RMSNorm(name="feed_forward_norm", dtype=policy)
        self.widen = dense(int(self.feed_forward_multiplier * dim), "widen", "relu")
        self.narrow = dense(dim, "narrow")
        self.drop = tf.keras.layers.Dropout(self.dropout, dtype=policy)
        super().build(input_shape)

    def call(self, events: tf.Tensor, bias: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Lets events look at one another.

        Args:
            events: [B, T, d] floating.
            bias: [B, 1 or H, T, T] floating, added to the scores, query by key; very
                negative where an event must not look. With 1 for B it is right, and
                far slower on a CPU (`models.sequence.encoder`).
            training: Whether dropout works.

        Returns:
            [B, T, d].
        """
        attended = self.outputs(self._attend(self.attention_norm(events), bias))
        events += self.drop(attended, training=training)
        return events + self.drop(
            self.narrow(self.widen(self.feed_forward_norm(events))), training=training
        )

    def _attend(self, events: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        query, key, value = split_heads(self.inputs(events), 3, self.heads)  # [B, H, T, c]
        if self.rotary:
            query, key = rotate(query), rotate(key)
        scores = tf.matmul(query * query.shape[-1] ** -0.5, key, transpose_b=True)  # [B, H, T, T]
        weights = tf.nn.softmax(scores + tf.cast(bias, scores.dtype))
        return join_heads(tf.matmul(weights, value))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {
            "heads": self.heads,
            "feed_forward_multiplier": self.feed_forward_multiplier,
            "dropout": self.dropout,
            "rotary": self.rotary,
        }
