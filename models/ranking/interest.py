"""Base of the ranking models whose candidate finds an interest in the history."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.layers.crossed_mlp import CrossedMLP
from models.ranking.config import CrossedRankingModelConfig
from models.ranking.features import PageView
from models.ranking.features import mean_of_history
from models.ranking.model import RankingModel
from models.ranking.similarity import similarities


class InterestModel(RankingModel):
    """Scores a candidate beside what of the history goes with it; a family adds the latter.

        logits = MLP(cross(.. cross([c ; z ; c * z ; mean ; c * mean ; context ; cosines])))

    with c the candidate, z its interest in the history and `mean` that of all events; the cosines
    are those of `models.ranking.similarity`, where the configuration names vectors. See
    `models.ranking.model.RankingModel` for the arguments.
    """

    model: CrossedRankingModelConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        given = (self.model.hidden_units, len(self.heads), self.model.dropout)
        self.mlp = CrossedMLP(*given, self.model.crosses, self.model.dim, name="mlp")

    def interest(self, view: PageView, training: bool = False) -> tf.Tensor:
        """Returns what of its page's history goes with each candidate.

        Args:
            view: I candidates and what they are judged by.
            training: Whether the step is one of training.

        Returns:
            [I, d] float32; zeros for an empty history.
        """
        raise NotImplementedError

    def mean(self, view: PageView) -> tf.Tensor:
        """Returns the mean of each page's events, [B, d] float32; zeros where there is none."""
        return mean_of_history(view)

    def logits(self, view: PageView, training: bool = False) -> tf.Tensor:
        """Scores candidates: [I, H] float32; see the base class."""
        return self.judge(view, self.interest(view, training), self.mean(view), training)

    def judge(
        self, view: PageView, interest: tf.Tensor, mean: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """Scores candidates by their interests [I, d] and the means [B, d] of their histories."""
        candidate, mean = view.candidate, tf.gather(mean, view.row)  # [I, d]
        parts = [candidate, interest, candidate * interest, mean, candidate * mean, view.context]
        parts += similarities(view, self.features.items, self.model.similarity)
        return self.mlp(tf.concat(parts, axis=1), training=training)
