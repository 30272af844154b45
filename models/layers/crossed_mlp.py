"""Feature crosses before an MLP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.layers.mlp import MLP


class CrossedMLP(tf.keras.layers.Layer):
    """An MLP over the crosses of its inputs.

        x_{i+1} = x_0 * (U_i V_i x_i + b_i) + x_i,   out = MLP(x_n)

    (Deep and cross network, stacked, of low rank: Wang et al. 2021, DCN V2,
    https://arxiv.org/abs/2008.13535.) So whatever stands beside the candidate is
    multiplied with it, e.g. the words of the query.

    Args:
        hidden_units: Widths of the MLP's hidden layers.
        dim: Width of the output.
        dropout: Share of the MLP's values that are zeroed in training.
        crosses: n, how many crosses; 0 leaves the MLP alone.
        rank: Rank of a cross's matrix U V.
    """

    def __init__(
        self,
        hidden_units: Sequence[int],
        dim: int,
        dropout: float = 0.0,
        crosses: int = 2,
        rank: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._arguments = {
            "hidden_units": tuple(hidden_units),
            "dim": dim,
            "dropout": dropout,
            "crosses": crosses,
            "rank": rank,
        }
        self._crosses = [_Cross(projection_dim=rank, name=f"cross_{i}") for i in range(crosses)]
        self._mlp = MLP(hidden_units, dim, dropout, name="mlp")

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Maps [N, n] float32 to [N, dim] float32."""
        crossed = inputs
        for cross in self._crosses:
            crossed = cross(inputs, crossed)
        return self._mlp(crossed, training=training)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | self._arguments


class _Cross(tfrs.layers.dcn.Cross):
    """A cross whose weights have the same names in every model of a process.

    Keras numbers layers without a name through the process, and a warm start goes by names.
    """

    def build(self, input_shape: Any) -> None:
        """Makes the layers, which have no weights yet, and names them."""
        super().build(input_shape)
        self._dense_u._name, self._dense_v._name = "u", "v"
