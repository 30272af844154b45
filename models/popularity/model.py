"""Popularity as a ranker."""

from __future__ import annotations

from typing import Any
from typing import cast

import numpy as np
import tensorflow as tf

from models.config import PageTrainerConfig
from models.input.page_batches import count_labels
from models.popularity.config import PopularityConfig
from models.ranking.features import PageView
from models.ranking.model import RankingModel
from models.training.data import TrainingData


class Popularity(RankingModel):
    """Scores a candidate by its click rate in training.

        rate   = (positives + n mean rate) / (candidates + n)
        logits = w log(rate / (1 - rate)) + c

    with n the prior; w and c are trained. See `models.ranking.model.RankingModel` for
    the arguments.
    """

    model: PopularityConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        size, heads = len(args[3]), len(self.heads)
        self.rates = self.add_weight(
            name="rates", shape=[size, heads], initializer="zeros", trainable=False
        )
        self.weight = self.add_weight(name="weight", shape=[heads], initializer="ones")
        self.constant = self.add_weight(name="constant", shape=[heads], initializer="zeros")

    @classmethod
    def of(cls, config: PageTrainerConfig, data: TrainingData) -> Popularity:
        """Makes the model and counts; see the base class."""
        model = cast(Popularity, super().of(config, data))
        counts = count_labels(data.train_files, data.spec, model.pages, data.sizes.entity)
        model.rates.assign(log_odds(counts, model.model.prior))
        return model

    def logits(self, view: PageView, training: bool = False) -> tf.Tensor:
        """Scores candidates: [I, H] float32; items outside training get the mean rate."""
        del training
        return tf.gather(self.rates, view.ids) * self.weight + self.constant


def log_odds(counts: np.ndarray, prior: float) -> np.ndarray:
    """Returns the log odds of smoothed click rates.

    Args:
        counts: [V + 1, 1 + H] candidates, then positives of each head.
        prior: Candidates beforehand, at the mean rate.

    Returns:
        [V + 1, H] float32.
    """
    shown, positive = counts[:, :1].astype(np.float64), counts[:, 1:].astype(np.float64)
    mean = (positive.sum(axis=0) + 1.0) / (shown.sum(axis=0) + 2.0)  # [H]
    rate = (positive + prior * mean) / (shown + prior)
    return np.log(rate / (1.0 - rate)).astype(np.float32)
