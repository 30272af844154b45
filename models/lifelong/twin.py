"""TWIN: a two-stage interest network whose stages have the same projections."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.lifelong.config import TwinConfig
from models.lifelong.model import SearchModel
from models.ranking.features import PageView


class Twin(SearchModel):
    """Searches all of a history by the attention that reads what was found.

        a_h[l] = (W_Q^h c) . (W_K^h item[l]) / sqrt(d / H) + beta_h . beside[l]

    Keys are of items alone; what an event has beside its item (type, value, age, query) is a
    bias, the same for all candidates. (Chang et al. 2023, https://arxiv.org/abs/2302.02352,
    section 4.2. There one search serves all heads; here each has its own.)
    """

    model: TwinConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.beside = tf.keras.layers.Dense(self.model.heads, use_bias=False, name="beside")

    def attend(self, view: PageView) -> tf.Tensor:
        """Finds and attends: [I, d] float32; see the base class."""
        beside = view.beside
        return self.attention(
            self.compared(view.candidate),
            self.compared(view.items),
            view.mask,
            view.row,
            values=view.history,
            bias=None if beside is None else self.beside(beside),
        )
