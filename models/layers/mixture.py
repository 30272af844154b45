"""Queries of several vectors: the interests of a user, and their mixture."""

from __future__ import annotations

from typing import Any
from typing import NamedTuple
from typing import TypeAlias

import tensorflow as tf


class Mixture(NamedTuple):
    """A query of K interests, whose scores for an item are mixed.

        score(v) = log sum_k w[k] exp(u[k] . v)

    A softmax over these scores is a mixture of the interests' softmaxes (Yang et al. 2018,
    eq. 5), each with a share of w[k] times its normaliser. The score needs no normaliser, so
    that a server which knows a few candidates computes it as training does.

    Attributes:
        vectors: [..., K, d] float32, u.
        log_weight: [..., K] float32, log w.
    """

    vectors: tf.Tensor
    log_weight: tf.Tensor


class SoftBest(NamedTuple):
    """A query of K interests, of whose scores for an item the better counts the more.

        score(v) = sum_k p[k] s[k],   s[k] = u[k] . v,   p = softmax_k(s)

    Losses know it. A search takes the best of the scores, which is its limit for long vectors:
    p reads the item, so no index could sum.

    Attributes:
        vectors: [..., K, d] float32, u.
    """

    vectors: tf.Tensor


Queries: TypeAlias = tf.Tensor | Mixture | SoftBest


class Interests(tf.keras.layers.Layer):
    """Makes a mixture of K interests of one vector.

        u[k] = x + A[k] x,   w = softmax(B x + b)

    Without a non-linearity, other than in Yang et al. 2018 (eq. 6): x comes out of a network.

    Args:
        number: K.
    """

    def __init__(self, number: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number = number

    def build(self, input_shape: Any) -> None:
        """Creates A, [d, K d], and what makes the weights."""
        dim = input_shape[-1]
        self._project = tf.keras.layers.Dense(self.number * dim, use_bias=False, name="project")
        self._weigh = tf.keras.layers.Dense(self.number, name="weigh")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> Mixture:
        """Maps [P, d] float32 to a mixture of [P, K, d] and [P, K] float32."""
        shape = [-1, self.number, inputs.shape[-1]]
        vectors = inputs[:, None] + tf.reshape(self._project(inputs), shape)
        return Mixture(vectors, tf.nn.log_softmax(self._weigh(inputs)))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {"number": self.number}


def score_items(queries: Queries, items: tf.Tensor) -> tf.Tensor:
    """Scores every item for every query, as the search of a servable does but for `SoftBest`.

    Args:
        queries: [P, d] float32, [P, K, d] of which the best counts, or a mixture.
        items: [N, d] float32.

    Returns:
        [P, N] float32.
    """
    if isinstance(queries, Mixture):
        products = tf.einsum("pkd,nd->pkn", queries.vectors, items)
        return tf.reduce_logsumexp(products + queries.log_weight[:, :, None], axis=1)
    if isinstance(queries, SoftBest):
        products = tf.einsum("pkd,nd->pkn", queries.vectors, items)
        return tf.reduce_sum(tf.nn.softmax(products, axis=1) * products, axis=1)
    if queries.shape.rank == 3:
        return tf.reduce_max(tf.einsum("pkd,nd->pkn", queries, items), axis=1)
    return tf.matmul(queries, items, transpose_b=True)
