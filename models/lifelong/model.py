"""Base of the ranking models of long histories: what a candidate finds, a few pages at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from models.input import batch as b
from models.layers.multi_head_target_attention import MultiHeadTargetAttention
from models.layers.rms_norm import inverse_rms
from models.lifelong.config import LifelongConfig
from models.lifelong.config import SearchConfig
from models.ranking.features import PageView
from models.ranking.interest import InterestModel

_PAIRS = 1 << 20  # of a candidate and an event, scored at a time outside of training


class LifelongModel(InterestModel):
    """A ranking model of long histories; a family adds `attend`.

    Outside of training pages are taken a few at a time, so that memory does not grow with
    pages times candidates times events.

    Attributes:
        cells: Floats that a candidate needs at the least, whatever the number of events.
    """

    cells: int = 1
    model: LifelongConfig

    def attend(self, view: PageView) -> tf.Tensor:
        """Returns what of its page's history goes with each candidate.

        Args:
            view: I candidates and what they are judged by.

        Returns:
            [I, d] float32; zeros for an empty history.
        """
        raise NotImplementedError

    def mean(self, view: PageView) -> tf.Tensor:
        """Returns the mean of the newest events: [B, d] float32; see the base class."""
        newest = slice(self.model.recent)
        parts = {name: getattr(view, name) for name in ("items", "mask", "about", "event_query")}
        cut = {name: one[:, newest] for name, one in parts.items() if one is not None}
        return super().mean(view._replace(**cut))

    def interest(self, view: PageView, training: bool = False) -> tf.Tensor:
        """Attends to the histories: [I, d] float32; see the base class."""
        if training:
            return self.attend(view)
        pages, events = tf.unstack(tf.shape(view.mask))
        most = tf.reduce_max(tf.math.bincount(tf.cast(view.row, tf.int32), minlength=1))
        size = tf.maximum(_PAIRS // tf.maximum(most * tf.maximum(events, self.cells), 1), 1)
        number = tf.maximum(pages, 1)  # without a page one slice, which is empty
        shape = [None, self.model.dim]
        found = tf.TensorArray(tf.float32, 0, True, infer_shape=False, element_shape=shape)

        def attend(start: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            end = tf.minimum(start + size, pages)
            part = view.of_pages(tf.cast(start, tf.int64), tf.cast(end, tf.int64))
            return start + size, found.write(start // size, self.attend(part))

        found = tf.while_loop(lambda start, _: start < number, attend, [0, found])[1]
        return found.concat()  # [I, d]


class SearchModel(LifelongModel):
    """A model of long histories that finds some of the events and attends to these.

    Attributes:
        attention: The attention to what is found.
    """

    model: SearchConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # Weights of one kind of attention are no start for the other: their names differ.
        name, start = "attention", "glorot_uniform"
        if self.model.normalise:
            name, start = "normalised_attention", "identity"
        given = (self.model.heads, self.model.top_k, start)
        self.attention = MultiHeadTargetAttention(*given, name=name)

    def scale_of(self, vectors: tf.Tensor) -> tf.Tensor:
        """Returns what `compared` multiplies vectors with: [..., d] -> [..., 1] float32."""
        return inverse_rms(vectors) if self.model.normalise else tf.ones_like(vectors[..., :1])

    def compared(self, vectors: tf.Tensor) -> tf.Tensor:
        """Scales vectors [..., d] float32 as the attention compares them.

        With `normalise` to a root mean square of 1, before the projections and without a learned
        factor (QK-norm, Henry et al. 2020, https://arxiv.org/abs/2010.04245, scales each head's
        queries and keys behind the projections).
        """
        return vectors * inverse_rms(vectors) if self.model.normalise else vectors


def newest_events(batch: Mapping[str, tf.Tensor], number: int | None) -> dict[str, tf.Tensor]:
    """Returns pages with the newest events of their histories; with all when None."""
    if number is None:
        return dict(batch)
    length = tf.minimum(batch[b.HISTORY_LENGTH], number)
    events = {name: batch[name][:, :number] for name in b.OF_EVENTS if name in batch}
    return {**batch, **events, b.HISTORY_LENGTH: length}


def some_events(
    batch: Mapping[str, tf.Tensor], found: tf.Tensor, mask: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Returns pages with some events of their histories.

    Args:
        batch: Pages by name (`models.input.batch`), P rows.
        found: [P, E] integers, positions of events.
        mask: [P, E] float32, 1 where there is an event.
    """
    events = {
        name: tf.gather(batch[name], found, batch_dims=1) for name in b.OF_EVENTS if name in batch
    }
    entity = events[b.HISTORY_ENTITY]
    events[b.HISTORY_ENTITY] = tf.where(mask > 0.0, entity, tf.zeros_like(entity))
    length = tf.fill(tf.shape(found)[:1], tf.shape(found, tf.int64)[1])
    return {**batch, **events, b.HISTORY_LENGTH: length}
