"""The gated pointwise attention of HSTU."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.layers.heads import join_heads
from models.layers.heads import split_heads
from models.layers.positions import rotate
from models.layers.rms_norm import RMSNorm


class HSTUBlock(tf.keras.layers.Layer):
    r"""Attention whose weights do not compete, gated by the event itself.

        U, V, Q, K = silu(W_1 norm(x))
        A_h = silu(Q_h K_h' + bias_h) / n          where the mask allows, 0 elsewhere
        x = x + drop(W_2 (norm([A_h V_h]_h) * U))

    Weights that do not sum to 1 keep how strongly something was liked, not
    only what was liked most. (Zhai et al. 2024, "Actions speak louder than words", eqs. 1 to 3.)

    Args:
        heads: H; they divide the dimension.
        length: n, what sums are divided by: the longest window.
        dropout: Share of what the block adds that is zeroed in training.
        rotary: Whether queries and keys are turned by their position.
    """

    def __init__(
        self, heads: int, length: int, dropout: float = 0.0, rotary: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.heads, self.length, self.dropout, self.rotary = heads, length, dropout, rotary

    def build(self, input_shape: Any) -> None:
        """Creates the block's layers for inputs [B, T, d]."""
        dim, policy = input_shape[-1], self._dtype_policy
        self.norm = RMSNorm(name="norm", dtype=policy)
        self.inputs = tf.keras.layers.Dense(4 * dim, use_bias=False, name="inputs", dtype=policy)
        self.found_norm = RMSNorm(name="found_norm", dtype=policy)
        self.outputs = tf.keras.layers.Dense(dim, use_bias=False, name="outputs", dtype=policy)
        self.drop = tf.keras.layers.Dropout(self.dropout, dtype=policy)
        super().build(input_shape)

    def call(self, events: tf.Tensor, bias: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Lets events look at one another.

        Args:
            events: [B, T, d] floating.
            bias: [1 or B, 1 or H, T, T] floating, added to the scores, query by
                key; very negative where an event must not look.
            training: Whether dropout works.

        Returns:
            [B, T, d].
        """
        dim = events.shape[2]
        parts = tf.nn.silu(self.inputs(self.norm(events)))
        gate = parts[:, :, :dim]
        value, query, key = split_heads(parts[:, :, dim:], 3, self.heads)  # [B, H, T, c]
        if self.rotary:
            query, key = rotate(query), rotate(key)
        scores = tf.matmul(query, key, transpose_b=True) + tf.cast(bias, query.dtype)
        # silu of a very negative score is 0: the mask needs no second form.
        weights = tf.nn.silu(scores) / self.length  # [B, H, T, T]
        found = self.found_norm(join_heads(tf.matmul(weights, value))) * gate
        return events + self.drop(self.outputs(found), training=training)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {
            "heads": self.heads,
            "length": self.length,
            "dropout": self.dropout,
            "rotary": self.rotary,
        }
