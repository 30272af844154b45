"""The deep interest network."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.din.config import DINConfig
from models.layers.target_attention import TargetAttention
from models.ranking.features import PageView
from models.ranking.interest import InterestModel


class DIN(InterestModel):
    """Scores a candidate by what of the history it speaks to.

        interest = attention(candidate, history)

    (Zhou et al. 2018, https://arxiv.org/abs/1706.06978; the pooled history beside the attention
    is in the authors' code for DIEN, the crosses are ours.) See
    `models.ranking.interest.InterestModel` for what becomes of it.
    """

    model: DINConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.attention = TargetAttention(self.model.attention_hidden, name="attention")

    def interest(self, view: PageView, training: bool = False) -> tf.Tensor:
        """Attends to the history: [I, d] float32; see the base class."""
        return self.attention(view.candidate, view.history, view.mask, view.row, training=training)
