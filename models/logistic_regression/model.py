"""Logistic regression."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.ranking.features import PageView
from models.ranking.model import RankingModel


class LogisticRegression(RankingModel):
    """Adds what item, user, query and time of day say, each by itself.

        logits = w . [candidate ; context] + b

    The vectors are sums of one embedding a token, so this is a weight for each token
    of `dim` times as many parameters. See `models.ranking.model.RankingModel` for the
    arguments.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.weigh = tf.keras.layers.Dense(len(self.heads), name="weigh")

    def logits(self, view: PageView, training: bool = False) -> tf.Tensor:
        """Scores candidates: [I, H] float32; see the base class."""
        del training
        return self.weigh(tf.concat([view.candidate, view.context], axis=1))
