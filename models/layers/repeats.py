"""Embedding of what a history has of a candidate itself."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from models.layers.buckets import LENGTH_BUCKETS
from models.layers.buckets import length_bucket


class Found(NamedTuple):
    """What histories have of each candidate.

    Attributes:
        number: [B, C] int32, events of the candidate.
        newest: [B, C] int32, the position of the newest of them; T where there is none.
    """

    number: tf.Tensor
    newest: tf.Tensor


def find_repeats(candidates: tf.Tensor, events: tf.Tensor) -> Found:
    """Finds each candidate in the history of its page.

    Candidates are sorted, and every event is searched in them: T log C steps a page, and no
    comparison of all pairs.

    Args:
        candidates: [B, C] int64 entities; 0 is none, and never found.
        events: [B, T] int64 entities, newest first; 0 is none.
    """
    last = [[0, 0], [0, 1]]  # one more, behind all events, so that each has a place
    ordered = tf.pad(tf.sort(candidates, axis=1), last, constant_values=tf.int64.max)
    rows, width = tf.unstack(tf.shape(ordered))
    length = tf.shape(events)[1]
    place = tf.searchsorted(ordered, events)  # [B, T]
    found = (tf.gather(ordered, place, batch_dims=1) == events) & (events > 0)
    segment = place + tf.range(rows)[:, None] * width
    position = tf.where(found, tf.range(length)[None], length)

    def of_candidates(values: tf.Tensor) -> tf.Tensor:
        own = tf.searchsorted(ordered, candidates)  # the first of several that are the same
        return tf.gather(tf.reshape(values, [rows, width]), own, batch_dims=1)

    number = tf.math.unsorted_segment_sum(tf.cast(found, tf.int32), segment, rows * width)
    newest = tf.math.unsorted_segment_min(position, segment, rows * width)
    return Found(of_candidates(number), tf.minimum(of_candidates(newest), length))


class Repeats(tf.keras.layers.Layer):
    """Embeds how often a candidate is in the history of its page, and what its newest event is.

        repeats = N[number] + P[position of the newest] + what is about the newest

    with logarithmic buckets of both; zeros for a candidate that the history has not. A sum over
    events, as attention makes, tells that the candidate itself was among them only as far as
    vectors of different items are far apart.

    Args:
        dim: d.
        name: Of the layer.
    """

    def __init__(self, dim: int, name: str = "repeats") -> None:
        super().__init__(name=name)
        self.number = tf.keras.layers.Embedding(LENGTH_BUCKETS, dim, name="number")
        self.newest = tf.keras.layers.Embedding(LENGTH_BUCKETS, dim, name="newest")

    def call(self, found: Found, about: tf.Tensor | None = None) -> tf.Tensor:
        """Embeds what was found.

        Args:
            found: Of [B, C] candidates.
            about: [B, C, d] float32, what the newest event has beside its item, if that is read.

        Returns:
            [B, C, d] float32.
        """
        vectors = self.number(length_bucket(found.number))
        vectors += self.newest(length_bucket(found.newest))
        if about is not None:
            vectors += about
        return tf.where(found.number[..., None] > 0, vectors, 0.0)
