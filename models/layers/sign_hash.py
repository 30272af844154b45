"""Locality-sensitive hashing of vectors by the signs of random projections."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.layers.page_layout import by_page
from models.layers.page_layout import places


class SignHash(tf.keras.layers.Layer):
    """Hashes vectors to the signs of fixed random projections; it has no gradient.

        out = sign(x R),   so that   (bits - out(x) . out(y)) / 2 is the Hamming distance

    which grows with the angle between x and y (Charikar 2002).

    Args:
        bits: How many projections.
        seed: Of the projections, which are saved, and never trained.
    """

    def __init__(self, bits: int, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bits = bits
        self.seed = seed

    def build(self, input_shape: Any) -> None:
        """Creates the projections, [d, bits]."""
        self.directions = self.add_weight(
            name="directions",
            shape=[input_shape[-1], self.bits],
            initializer=tf.keras.initializers.RandomNormal(stddev=1.0, seed=self.seed),
            trainable=False,
        )
        super().build(input_shape)

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        """Hashes [..., d] float32 to [..., bits] float32, each -1 or 1."""
        projected = tf.tensordot(tf.stop_gradient(vectors), self.directions, 1)
        return tf.where(projected >= 0.0, 1.0, -1.0)

    def similarity(self, candidate: tf.Tensor, events: tf.Tensor, row: tf.Tensor) -> tf.Tensor:
        """Compares the hashes of candidates with those of their pages' events.

        Args:
            candidate: [I, d] float32.
            events: [P, L, d] float32.
            row: [I] int64, the page of each candidate, ascending.

        Returns:
            [P, 1, C, L] float32, bits that are equal less bits that differ.
        """
        pages = tf.shape(events)[0]
        codes = by_page(self(candidate), places(row, pages), pages)  # [P, C, bits]
        return tf.matmul(codes, self(events), transpose_b=True)[:, None]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {"bits": self.bits, "seed": self.seed}


class BucketPooling(tf.keras.layers.Layer):
    """Averages the events that fall into a candidate's bucket, over rounds of hashing.

        out = 1/R sum_r mean { v[l] : hash_r(s[l]) = hash_r(c) },   hash_r of `width` signs

    The mean of each bucket is made once a page, so the cost hardly grows with the candidates,
    and there is no search. (SDIM, Cao et al. 2022, https://arxiv.org/abs/2205.10249, which
    divides a bucket's sum by its length instead of by its number.)

    Args:
        rounds: R.
        width: Bits of a round; it has 2^width buckets.
        seed: Of the hashes.
    """

    def __init__(self, rounds: int = 16, width: int = 3, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rounds = rounds
        self.width = width
        self.seed = seed
        self.hash = SignHash(rounds * width, seed, name="hash")

    def call(
        self,
        candidate: tf.Tensor,
        events: tf.Tensor,
        mask: tf.Tensor,
        row: tf.Tensor,
        values: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Pools the history of each candidate's page.

        Args:
            candidate: [I, d] float32.
            events: [P, L, d] float32, what is hashed.
            mask: [P, L] float32, 1 where there is an event.
            row: [I] int64, the page of each candidate.
            values: [P, L, d] float32, what is averaged; the events when None.

        Returns:
            [I, d] float32; an empty bucket counts as zeros.
        """
        values = events if values is None else values
        size = 1 << self.width
        shape = [tf.shape(events)[0], tf.shape(events)[1], self.rounds * size]
        there = tf.reshape(tf.one_hot(self._buckets(events), size), shape) * mask[:, :, None]
        number = tf.maximum(tf.reduce_sum(there, axis=1), 1.0)[:, :, None]  # [P, R 2^w, 1]
        means = tf.matmul(there, values, transpose_a=True) / number  # [P, R 2^w, d]
        bucket = self._buckets(candidate) + tf.range(self.rounds) * size  # [I, R]
        place = tf.stack([tf.repeat(row[:, None], self.rounds, axis=1), tf.cast(bucket, row.dtype)])
        return tf.reduce_mean(tf.gather_nd(means, tf.transpose(place, [1, 2, 0])), axis=1)

    def _buckets(self, vectors: tf.Tensor) -> tf.Tensor:
        """Returns the bucket of each round, [..., R] int32."""
        bits = tf.cast(self.hash(vectors) > 0.0, tf.int32)
        shape = tf.concat([tf.shape(bits)[:-1], [self.rounds, self.width]], axis=0)
        powers = tf.constant([1 << bit for bit in range(self.width)])
        return tf.reduce_sum(tf.reshape(bits, shape) * powers, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        more = {"rounds": self.rounds, "width": self.width, "seed": self.seed}
        return super().get_config() | more
