"""The pooled MLP with crosses."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.layers.crossed_mlp import CrossedMLP
from models.pooled_mlp.config import PooledMLPConfig
from models.ranking.features import PageView
from models.ranking.features import mean_of_history
from models.ranking.model import RankingModel
from models.ranking.similarity import similarities


class PooledMLP(RankingModel):
    """Scores a candidate beside the mean of the history.

        x_0    = [candidate ; mean of the history ; their product ; context ; cosines]
        logits = MLP(cross(.. cross(x_0)))

    with the cosines of `models.ranking.similarity` where the configuration names vectors.
    (Crosses: Wang et al. 2021, DCN V2, https://arxiv.org/abs/2008.13535.) See
    `models.ranking.model.RankingModel` for the arguments.
    """

    model: PooledMLPConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        given = (self.model.hidden_units, len(self.heads), self.model.dropout)
        self.mlp = CrossedMLP(*given, self.model.crosses, self.model.dim, name="mlp")

    def logits(self, view: PageView, training: bool = False) -> tf.Tensor:
        """Scores candidates: [I, H] float32; see the base class."""
        mean = tf.gather(mean_of_history(view), view.row)  # [I, d]
        parts = [view.candidate, mean, view.candidate * mean, view.context]
        parts += similarities(view, self.features.items, self.model.similarity)
        return self.mlp(tf.concat(parts, axis=1), training=training)
