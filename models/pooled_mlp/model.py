"""The pooled MLP with crosses."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.layers.mlp import MLP
from models.pooled_mlp.config import PooledMLPConfig
from models.ranking.features import PageView
from models.ranking.model import RankingModel


class PooledMLP(RankingModel):
    """Scores a candidate beside the mean of the history.

        x_0    = [candidate ; mean of the history ; their product ; user]
        logits = MLP(cross(.. cross(x_0)))

    (Crosses: Wang et al. 2021, DCN V2, https://arxiv.org/abs/2008.13535.) See
    `models.ranking.model.RankingModel` for the arguments.
    """

    model: PooledMLPConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.crosses = [
            tfrs.layers.dcn.Cross(projection_dim=self.model.dim, name=f"cross_{index}")
            for index in range(self.model.crosses)
        ]
        self.mlp = MLP(self.model.hidden_units, len(self.heads), self.model.dropout, name="mlp")

    def logits(self, view: PageView, training: bool = False) -> tf.Tensor:
        """Scores candidates: [I, H] float32; see the base class."""
        number = tf.maximum(tf.reduce_sum(view.mask, axis=1, keepdims=True), 1.0)
        mean = tf.einsum("bt,btd->bd", view.mask, view.history) / number  # [B, d]
        mean = tf.gather(mean, view.row)  # [I, d]
        parts = [view.candidate, mean, view.candidate * mean, tf.gather(view.user, view.row)]
        inputs = crossed = tf.concat(parts, axis=1)
        for cross in self.crosses:
            crossed = cross(inputs, crossed)
        return self.mlp(crossed, training=training)
