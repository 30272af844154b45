"""A recurrent block, the elder way to read a sequence."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.layers.rms_norm import RMSNorm


class GRUBlock(tf.keras.layers.Layer):
    """A gated recurrent unit with a residual connection.

        x = x + drop(GRU(norm(x)))

    (GRU4Rec, Hidasi et al. 2016, with one loss at every position.) It reads forwards,
    whatever the bias says, so it is for causal encoders.

    Args:
        dropout: Share of what the block adds that is zeroed in training.
    """

    def __init__(self, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dropout = dropout

    def build(self, input_shape: Any) -> None:
        """Creates the block's layers for inputs [B, T, d]."""
        policy = self._dtype_policy
        self.norm = RMSNorm(name="norm", dtype=policy)
        self.read = tf.keras.layers.GRU(
            input_shape[-1], return_sequences=True, name="read", dtype=policy
        )
        self.drop = tf.keras.layers.Dropout(self.dropout, dtype=policy)
        super().build(input_shape)

    def call(self, events: tf.Tensor, bias: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Reads [B, T, d] events from the first to the last; the bias is for others."""
        del bias
        return events + self.drop(self.read(self.norm(events)), training=training)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {"dropout": self.dropout}
