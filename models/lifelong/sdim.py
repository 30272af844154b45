"""SDIM: interest by the collisions of sampled hashes."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.layers.sign_hash import BucketPooling
from models.lifelong.config import SdimConfig
from models.lifelong.model import LifelongModel
from models.ranking.features import PageView


class Sdim(LifelongModel):
    """Averages the events whose items fall into the candidate's bucket, over rounds.

    (Cao et al. 2022, https://arxiv.org/abs/2205.10249.)
    """

    model: SdimConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        given = (self.model.rounds, self.model.width, self.config.seed)
        self.pooling = BucketPooling(*given, name="pooling")

    def attend(self, view: PageView) -> tf.Tensor:
        """Pools the buckets: [I, d] float32; see the base class."""
        return self.pooling(view.candidate, view.items, view.mask, view.row, view.history)
