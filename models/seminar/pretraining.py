"""Losses of the pretraining search unit: next pair, alignment of channels, relevance to queries."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import tensorflow as tf

from models.seminar.config import AlignmentConfig
from models.seminar.config import LossesConfig
from models.seminar.config import RelevanceConfig


def weighted_sum(losses: Mapping[str, tf.Tensor], config: LossesConfig) -> tf.Tensor:
    """Sums losses by their weights.

        L = w_n L_next + w_a L_alignment + w_r L_relevance

    Args:
        losses: Scalars, by their names in the configuration; those that are not used, or that
            the log has nothing for, are left out.
        config: The weights.

    Returns:
        Scalar float32.
    """
    weighted = [getattr(config, name).weight * loss for name, loss in losses.items()]
    return tf.add_n(weighted or [tf.zeros([])])


def tell_next_pair(logits: tf.Tensor) -> tf.Tensor:
    """Computes the cross-entropy of the pair that follows a history, beside pairs that do not.

    Args:
        logits: [P, 1 + n] float32, of the pair that followed, then of those that did not.

    Returns:
        Scalar float32, the mean over all pairs; 0 without any.
    """
    labels = tf.one_hot(tf.zeros([tf.shape(logits)[0]], tf.int32), tf.shape(logits)[1])
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
    return tf.math.divide_no_nan(tf.reduce_sum(losses), tf.cast(tf.size(losses), tf.float32))


def align_channels(channels: tf.Tensor, config: AlignmentConfig) -> tf.Tensor:
    """Makes the channels of an item find each other among the items of a chunk.

        loss(a, b) = (CE(T, A B' / t) + CE(T', B A' / t)) / 2,   T = softmax((A A' + B B') / 2 t)

    of normalised vectors, averaged over the pairs of channels: the targets are soft, for items
    that both channels find alike. They are labels and have no gradient.

    Args:
        channels: [N, M, d] float32, of distinct items.
        config: Temperature and size of a chunk.

    Returns:
        Scalar float32; 0 for a single channel, or no item.
    """
    number, size = tf.shape(channels)[0], config.chunk
    chunks = (number + size - 1) // size
    there = tf.reshape(tf.range(chunks * size) < number, [chunks, size])  # [n, c]
    padded = tf.pad(channels, [[0, chunks * size - number], [0, 0], [0, 0]])
    shape = [chunks, size, channels.shape[1], channels.shape[2]]
    vectors = tf.unstack(tf.math.l2_normalize(tf.reshape(padded, shape), axis=-1), axis=2)
    never = tf.where(there, 0.0, -1e9)[:, None]  # [n, 1, c], of what is no item
    losses = [
        _soft_target_loss(one, other, there, never, config.temperature)
        for one, other in itertools.combinations(vectors, 2)
    ]
    return tf.add_n(losses) / len(losses) if losses else tf.zeros([])


def _soft_target_loss(
    one: tf.Tensor, other: tf.Tensor, there: tf.Tensor, never: tf.Tensor, temperature: float
) -> tf.Tensor:
    logits = tf.matmul(one, other, transpose_b=True) / temperature  # [n, c, c]
    alike = tf.matmul(one, one, transpose_b=True) + tf.matmul(other, other, transpose_b=True)
    targets = tf.stop_gradient(tf.nn.softmax(alike / (2.0 * temperature) + never))
    forwards = tf.nn.softmax_cross_entropy_with_logits(targets, logits + never)
    backwards = tf.nn.softmax_cross_entropy_with_logits(
        targets, tf.linalg.matrix_transpose(logits) + never
    )
    losses = tf.boolean_mask((forwards + backwards) / 2.0, there)  # [N]
    return tf.math.divide_no_nan(tf.reduce_sum(losses), tf.cast(tf.size(losses), tf.float32))


def query_relevance(
    queries: tf.Tensor,
    items: tf.Tensor,
    mask: tf.Tensor,
    negatives: tf.Tensor,
    config: RelevanceConfig,
) -> tf.Tensor:
    """Makes a query find the item that it led to among others of the same history (InfoNCE).

        loss = mean over events with a query of
               -log( e^{cos(q, i) / t} / (e^{cos(q, i) / t} + sum_j e^{cos(q, i_j) / t}) )

    Args:
        queries: [B, L, d] float32, zeros for an event without one, which is left out.
        items: [B, L, d] float32.
        mask: [B, L] float32, 1 where there is an event.
        negatives: [B, L, n] int, positions of other events; those that are no events, or the
            event itself, are left out.
        config: The temperature.

    Returns:
        Scalar float32; 0 where no event has a query and another event.
    """
    query = tf.math.l2_normalize(queries, axis=-1)
    item = tf.math.l2_normalize(items, axis=-1)
    own = tf.range(tf.shape(mask)[1], dtype=negatives.dtype)[None, :, None]
    valid = (tf.gather(mask, negatives, batch_dims=1) > 0.0) & tf.not_equal(negatives, own)
    others = tf.einsum("bld,blnd->bln", query, tf.gather(item, negatives, batch_dims=1))
    positive = tf.reduce_sum(query * item, axis=-1, keepdims=True)  # [B, L, 1]
    others = tf.where(valid, others / config.temperature, -1e9)
    logits = tf.concat([positive / config.temperature, others], axis=-1)
    losses = -tf.nn.log_softmax(logits)[:, :, 0]  # [B, L]
    asked = tf.reduce_any(tf.not_equal(queries, 0.0), axis=-1) & tf.reduce_any(valid, axis=-1)
    counts = tf.cast(asked & (mask > 0.0), tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(losses * counts), tf.reduce_sum(counts))


def other_events(mask: tf.Tensor, number: int, seed: tf.Tensor) -> tf.Tensor:
    """Draws for each event others of its history, each as likely.

    Args:
        mask: [B, L] float32, 1 where there is an event, from the first on.
        number: n, how many; with repetition.
        seed: [2] int64.

    Returns:
        [B, L, n] int32, positions; the event itself where there is no other.
    """
    length = tf.cast(tf.reduce_sum(mask, axis=1), tf.int32)[:, None, None]  # [B, 1, 1]
    shape = tf.concat([tf.shape(mask), [number]], axis=0)
    drawn = tf.random.stateless_uniform(shape, seed)
    step = 1 + tf.cast(drawn * tf.cast(length - 1, tf.float32), tf.int32)
    step = tf.minimum(step, tf.maximum(length - 1, 0))
    own = tf.range(tf.shape(mask)[1])[None, :, None]
    return (own + step) % tf.maximum(length, 1)
