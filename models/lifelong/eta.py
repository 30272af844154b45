"""ETA: end-to-end target attention over what hashes find."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.layers.sign_hash import SignHash
from models.lifelong.config import EtaConfig
from models.lifelong.model import SearchModel
from models.ranking.features import PageView


class Eta(SearchModel):
    """Finds the events whose items' sign hashes are nearest, then attends to these.

    The hash follows the embeddings as they are trained; the search itself has no gradient.
    (Chen et al. 2021, https://arxiv.org/abs/2108.04468.)
    """

    model: EtaConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.hash = SignHash(self.model.bits, self.config.seed, name="hash")

    def attend(self, view: PageView) -> tf.Tensor:
        """Finds and attends: [I, d] float32; see the base class."""
        search = self.hash.similarity(view.candidate, view.items, view.row)
        vectors = self.compared(view.candidate), self.compared(view.history)
        return self.attention(*vectors, view.mask, view.row, values=view.history, search=search)
