"""SIM: a search-based interest model."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.layers.mlp import MLP
from models.layers.page_layout import by_page
from models.layers.page_layout import of_candidates
from models.layers.page_layout import places
from models.lifelong.config import SimConfig
from models.lifelong.model import SearchModel
from models.ranking.features import PageView

_CATEGORIES = "categories"


class Sim(SearchModel):
    """Finds events by a search of its own, then attends to these.

        soft: r[l] = (W_a c) . (W_b item[l])
        hard: the newest events whose items share a category with the candidate

    The soft search learns by a second loss: MLP([c ; mean of r[l] item[l]]) predicts the
    clicks, too. (Pi et al. 2020, https://arxiv.org/abs/2006.05639, sections 3.1 and 3.3; its
    sum of r[l] item[l] is a mean here, so that long histories have no greater gradients.)

    Raises:
        ValueError: `search: hard` on a catalogue without categories.
    """

    model: SimConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        dim, widths = self.model.dim, self.features.items.widths
        self.soft = self.model.search == "soft"
        if self.soft:
            self.of_candidate = tf.keras.layers.Dense(dim, use_bias=False, name="of_candidate")
            self.of_event = tf.keras.layers.Dense(dim, use_bias=False, name="of_event")
            self.search_mlp = MLP(self.model.hidden_units, len(self.heads), name="search_mlp")
        elif _CATEGORIES not in widths:
            raise ValueError(
                "`search: hard` finds events by the categories of items, but no item that is "
                "read has any. Choose `search: soft`, or add categories to the catalogue."
            )

    def attend(self, view: PageView) -> tf.Tensor:
        """Finds and attends: [I, d] float32; see the base class."""
        search = self._products(view) if self.soft else self._shared_categories(view)
        vectors = self.compared(view.candidate), self.compared(view.history)
        return self.attention(
            *vectors, view.mask, view.row, values=view.history, search=search[:, None]
        )

    def auxiliary_logits(self, view: PageView, training: bool = False) -> tf.Tensor | None:
        """Scores candidates by the soft search alone: [I, H] float32; see the base class."""
        if not self.soft:
            return None
        odds = self._products(view) * view.mask[:, None]  # [P, C, L]
        number = tf.maximum(tf.reduce_sum(view.mask, axis=1), 1.0)[:, None, None]
        found = tf.matmul(odds, view.items) / number  # [P, C, d]
        found = of_candidates(found, places(view.row, tf.shape(view.mask)[0]))
        return self.search_mlp(tf.concat([view.candidate, found], axis=1), training=training)

    def _products(self, view: PageView) -> tf.Tensor:
        """Returns the soft search's scores, [P, C, L] float32."""
        pages = tf.shape(view.mask)[0]
        query = by_page(self.of_candidate(view.candidate), places(view.row, pages), pages)
        return tf.matmul(query, self.of_event(view.items), transpose_b=True)

    def _shared_categories(self, view: PageView) -> tf.Tensor:
        """Returns how new the events of a candidate's categories are, [P, C, L] float32."""
        pages = tf.shape(view.mask)[0]
        wanted = by_page(view.catalogue[_CATEGORIES], places(view.row, pages), pages)  # [P, C, k]
        events = self.features.items.look_up(tf.reshape(view.events, [-1]))[_CATEGORIES]
        shape = tf.concat([tf.shape(view.events), [events.shape[1]]], axis=0)
        theirs = tf.unstack(tf.reshape(events, shape)[:, None], events.shape[1], axis=3)
        shared = tf.zeros([], tf.bool)
        for one in tf.unstack(wanted[:, :, None], wanted.shape[2], axis=3):  # [P, C, 1]
            for other in theirs:  # [P, 1, L]
                shared |= tf.equal(one, other) & (other > 0)
        position = tf.cast(tf.range(tf.shape(view.events)[1]), tf.float32)
        return tf.where(shared, -position, tf.float32.min)
