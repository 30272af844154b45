"""The tokens that read a whole history, and what becomes of them: a user."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from models.input import batch as b
from models.layers.mixture import Mixture
from models.layers.mixture import Queries
from models.layers.mixture import SoftBest

_ON_THE_RIGHT = (b.SEQUENCE_TYPE, b.SEQUENCE_MASKED, b.SEQUENCE_AGE, b.SEQUENCE_REQUEST_AGE)


class Representations(tf.keras.layers.Layer):
    """K learned tokens behind the newest event of each sequence.

        u[k] = o[n] + P[k] o[token k],   w = softmax_k(a . u[k])

    with o the encoder's outputs and n the newest event. P starts from zeros: what follows is
    found by the newest event until the tokens know better. Tokens are of the age of the request.
    With one token there is one vector, and no weight.

    Args:
        number: K.
        dim: d.
        score: How K scores are one (`models.guim.config`).
    """

    def __init__(self, number: int, dim: int, score: str) -> None:
        super().__init__(name="representations")
        self.number = number
        self.score = score
        # Made outside of a replica, so with a seed of its own; each token has other values.
        initial = tf.keras.initializers.RandomNormal(stddev=0.1, seed=7)
        self.tokens = self.add_weight(name="tokens", shape=[number, dim], initializer=initial)
        self.project = self.add_weight(
            name="project", shape=[number, dim, dim], initializer="zeros"
        )
        self.weigh = None
        if number > 1 and score == "mixture":
            self.weigh = self.add_weight(name="weigh", shape=[dim], initializer="zeros")

    def append(
        self, sequence: Mapping[str, tf.Tensor], items: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Puts the tokens behind sequences.

        Args:
            sequence: By name (`models.input.batch`), B rows of T positions.
            items: [B, T, d] float32, vectors of the events' items.

        Returns:
            The sequences, each longer by K, and vectors [B, T + K, d].
        """
        lengths = sequence[b.SEQUENCE_LENGTH]
        around = [[0, 0], [0, self.number]]
        longer = {
            name: tf.pad(values, around) if name in _ON_THE_RIGHT else values
            for name, values in sequence.items()
        }
        longer[b.SEQUENCE_LENGTH] = lengths + self.number
        rank = tf.range(tf.shape(items, tf.int64)[1] + self.number)[None, :]
        which = rank - lengths[:, None]  # [B, T + K]
        mine = (which >= 0) & (which < self.number)
        own = tf.gather(self.tokens, tf.clip_by_value(which, 0, self.number - 1))
        return longer, tf.where(mine[:, :, None], own, tf.pad(items, [*around, [0, 0]]))

    def vectors(self, encoded: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """Returns what the encoder made of the newest event and the tokens.

        Args:
            encoded: [B, T + K, d] float32.
            lengths: [B] int64, of the sequences without the tokens, the start among it.

        Returns:
            [B, K, d] float32, u.
        """
        places = lengths[:, None] + tf.range(self.number, dtype=lengths.dtype)
        tokens = tf.gather(encoded, places, batch_dims=1)  # [B, K, d]
        newest = tf.gather(encoded, lengths - 1, batch_dims=1)  # [B, d]
        return newest[:, None] + tf.einsum("bkd,kde->bke", tokens, self.project)

    def call(self, vectors: tf.Tensor) -> Queries:
        """Makes queries of users' vectors.

        Args:
            vectors: [B, K, d] float32.

        Returns:
            [B, d] where K is 1, a mixture, `SoftBest`, or [B, K, d], of which the best counts.
        """
        if self.number == 1:
            return vectors[:, 0]
        if self.weigh is not None:
            return Mixture(vectors, tf.nn.log_softmax(tf.linalg.matvec(vectors, self.weigh)))
        return SoftBest(vectors) if self.score == "soft_best" else vectors


def similarity(vectors: tf.Tensor) -> tf.Tensor:
    """Returns the mean squared cosine of different vectors of a user.

        mean_{k != l} cos(u[k], u[l])^2

    Args:
        vectors: [B, K, d] float32, K > 1.

    Returns:
        Scalar float32, from 0 (orthogonal) to 1 (all alike).
    """
    number = vectors.shape[1]
    unit = tf.math.l2_normalize(vectors, axis=-1)
    squares = tf.matmul(unit, unit, transpose_b=True) ** 2  # [B, K, K]
    others = tf.reduce_sum(squares, axis=[1, 2]) - tf.linalg.trace(squares)
    return tf.reduce_mean(others) / float(number * (number - 1))
