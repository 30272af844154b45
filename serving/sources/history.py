"""The newest events of histories, from dense rows and from timelines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from serving.index.config import EVERY


class History(NamedTuple):
    """Histories of a batch, oldest first; what lies beyond a length is not read.

    Attributes:
        rows: [B, T] int32, rows of entities, -1 for those that nobody knows.
        events: [B, T] string, event types.
        timestamps: [B, T] int64, microseconds.
        length: [B] int64.
    """

    rows: tf.Tensor
    events: tf.Tensor
    timestamps: tf.Tensor
    length: tf.Tensor


class NewestEvents(NamedTuple):
    """The newest events of histories, the newest first.

    Attributes:
        rows: [B, n] int32, -1 where a history has no more or nobody knows the entity.
        timestamps: [B, n] int64, microseconds.
    """

    rows: tf.Tensor
    timestamps: tf.Tensor

    def first(self, count: int) -> NewestEvents:
        """Returns the newest `count` of them."""
        return NewestEvents(self.rows[:, :count], self.timestamps[:, :count])


def newest_events(
    history: History, count: int, event_types: Sequence[str] = (EVERY,)
) -> NewestEvents:
    """Selects the newest events of each history.

    Args:
        history: B histories of at most T events.
        count: n, how many to select.
        event_types: Types of the events that count; ["*"] is all.

    Returns:
        [B, n] events; those of other types are passed over as if they were not there.
    """
    batch, width = tf.unstack(tf.shape(history.rows))
    counted = tf.sequence_mask(history.length, width)  # [B, T]
    if EVERY not in event_types:
        counted &= tf.reduce_any(history.events[:, :, None] == tf.constant(list(event_types)), -1)
    position = tf.where(counted, tf.range(width)[None], -1)
    missing = tf.maximum(0, count - width)
    position = tf.pad(position, [[0, 0], [missing, 0]], constant_values=-1)
    position, _ = tf.math.top_k(position, count)  # [B, n], newest first
    filler = tf.fill([batch, 1], 0)  # so that there is a first event to look at
    at = tf.maximum(position, 0)
    rows = tf.gather(tf.concat([history.rows, filler], 1), at, batch_dims=1)
    times = tf.gather(
        tf.concat([history.timestamps, tf.cast(filler, tf.int64)], 1), at, batch_dims=1
    )
    return NewestEvents(tf.where(position < 0, -1, rows), times)
