"""Multi-layer perceptron with dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class MLP(tf.keras.layers.Layer):
    """MLP with a linear residual connection.

        h_0 = dropout(x),  h_i = dropout(gelu(W_i h_{i-1} + b_i)),  out = V h_n + c + U x

    The term U x lets the linear part of the answer pass by the hidden layers.
    Without hidden layers this is V x + c.

    Args:
        hidden_units: Widths of the hidden layers.
        dim: d, width of the output.
        dropout: Share of inputs and of hidden values that are zeroed in training.
    """

    def __init__(
        self, hidden_units: Sequence[int], dim: int, dropout: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_units = tuple(hidden_units)
        self.dim = dim
        self.dropout = dropout
        dense = tf.keras.layers.Dense
        self._hidden = [
            dense(width, activation="gelu", name=f"hidden_{index}")
            for index, width in enumerate(self.hidden_units)
        ]
        self._out = dense(dim, name="out")
        self._skip = dense(dim, use_bias=False, name="skip") if self.hidden_units else None
        self._drop = tf.keras.layers.Dropout(dropout)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Maps [..., n] float32 to [..., d] float32."""
        values = self._drop(inputs, training=training)
        for layer in self._hidden:
            values = self._drop(layer(values), training=training)
        out = self._out(values)
        return out if self._skip is None else out + self._skip(inputs)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {
            "hidden_units": self.hidden_units,
            "dim": self.dim,
            "dropout": self.dropout,
        }
