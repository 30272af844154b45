"""Attention of a candidate over a history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class TargetAttention(tf.keras.layers.Layer):
    r"""Sums a history by how much each event matters to a candidate.

        a[t] = MLP([h[t] ; c ; h[t] - c ; h[t] * c]),   out = sum_t mask[t] a[t] h[t] / sqrt(n)

    with n the events that are there. (DIN, Zhou et al. 2018, section 4.3: weights are not
    normalised to sum to 1, so that the sum keeps how strong an interest is; the square root,
    not in the paper, keeps long histories in the range of short ones.) The parts of the first layer
    that see the history or the candidate alone are multiplied once for each, and not for each pair.

    Args:
        hidden_units: Widths of the MLP's hidden layers.
    """

    def __init__(self, hidden_units: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_units = tuple(hidden_units)

    def build(self, input_shape: Any) -> None:
        """Creates the layers; d is the width of the candidate."""
        dense = tf.keras.layers.Dense
        first, *others = self.hidden_units
        self.of_history = dense(first, use_bias=False, name="of_history")
        self.of_candidate = dense(first, name="of_candidate")
        self.of_product = dense(first, use_bias=False, name="of_product")
        self.activation = tf.keras.layers.PReLU(shared_axes=[1], name="activation")
        self.others = [dense(w, "relu", name=f"hidden_{i}") for i, w in enumerate(others, 1)]
        self.weigh = dense(1, name="weigh")
        super().build(input_shape)

    def call(
        self, candidate: tf.Tensor, history: tf.Tensor, mask: tf.Tensor, row: tf.Tensor
    ) -> tf.Tensor:
        """Attends to the history of each candidate's page.

        Args:
            candidate: [I, d] float32.
            history: [B, T, d] float32.
            mask: [B, T] float32, 1 where there is an event.
            row: [I] int64, the page of each candidate.

        Returns:
            [I, d] float32; zeros for an empty history.
        """
        events = tf.gather(history, row)  # [I, T, d]
        there = tf.gather(mask, row)  # [I, T]
        # W [h ; c ; h - c ; h c] is (U h) + (V c) + W (h c), with h - c folded into U and V.
        first = tf.gather(self.of_history(history), row) + self.of_candidate(candidate)[:, None]
        hidden = self.activation(first + self.of_product(events * candidate[:, None]))
        for layer in self.others:
            hidden = layer(hidden)
        weight = self.weigh(hidden)[:, :, 0] * there  # [I, T]
        number = tf.maximum(tf.reduce_sum(there, axis=1, keepdims=True), 1.0)
        return tf.einsum("it,itd->id", weight, events) * tf.math.rsqrt(number)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {"hidden_units": self.hidden_units}
