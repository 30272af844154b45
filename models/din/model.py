"""The deep interest network."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.din.config import DINConfig
from models.layers.crossed_mlp import CrossedMLP
from models.layers.target_attention import TargetAttention
from models.ranking.features import PageView
from models.ranking.features import mean_of_history
from models.ranking.model import RankingModel


class DIN(RankingModel):
    """Scores a candidate by what of the history it speaks to.

        interest = attention(candidate, history)
        x_0      = [candidate ; interest ; candidate * interest ; mean ; candidate * mean ; user]
        logits   = MLP(cross(.. cross(x_0)))

    with `mean` that of the history. (Zhou et al. 2018, https://arxiv.org/abs/1706.06978; the
    pooled history beside the attention is in the authors' code for DIEN, the crosses are ours.) See
    `models.ranking.model.RankingModel` for the arguments.
    """

    model: DINConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.attention = TargetAttention(self.model.attention_hidden, name="attention")
        given = (self.model.hidden_units, len(self.heads), self.model.dropout)
        self.mlp = CrossedMLP(*given, self.model.crosses, self.model.dim, name="mlp")

    def logits(self, view: PageView, training: bool = False) -> tf.Tensor:
        """Scores candidates: [I, H] float32; see the base class."""
        candidate = view.candidate
        interest = self.attention(
            candidate, view.history, view.mask, view.row, training=training
        )  # [I, d]
        mean = tf.gather(mean_of_history(view), view.row)  # [I, d]
        parts = [candidate, interest, candidate * interest, mean, candidate * mean]
        inputs = tf.concat([*parts, tf.gather(view.user, view.row)], axis=1)
        return self.mlp(inputs, training=training)
