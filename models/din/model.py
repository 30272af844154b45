"""The deep interest network."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.din.config import DINConfig
from models.layers.mlp import MLP
from models.layers.target_attention import TargetAttention
from models.ranking.features import PageView
from models.ranking.model import RankingModel


class DIN(RankingModel):
    """Scores a candidate by what of the history it speaks to.

        interest = attention(candidate, history)
        logits   = MLP([candidate ; interest ; candidate * interest ; user])

    (Zhou et al. 2018, https://arxiv.org/abs/1706.06978.) See
    `models.ranking.model.RankingModel` for the arguments.
    """

    model: DINConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.attention = TargetAttention(self.model.attention_hidden, name="attention")
        self.mlp = MLP(self.model.hidden_units, len(self.heads), self.model.dropout, name="mlp")

    def logits(self, view: PageView, training: bool = False) -> tf.Tensor:
        """Scores candidates: [I, H] float32; see the base class."""
        interest = self.attention(  # [I, d]
            view.candidate, view.history, view.mask, view.row, training=training
        )
        parts = [view.candidate, interest, view.candidate * interest]
        inputs = tf.concat([*parts, tf.gather(view.user, view.row)], axis=1)
        return self.mlp(inputs, training=training)
