"""The softmax over many items of a mixture of interests, without ever holding all scores."""

from __future__ import annotations

import tensorflow as tf

from models.layers.mixture import Mixture
from models.tasks.chunked_softmax import SCORES_AT_ONCE
from models.tasks.chunked_softmax import corrected


def mixture_softmax_loss(
    queries: Mixture,
    items: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    correction: tf.Tensor | None = None,
    excluded: tf.RaggedTensor | None = None,
    precision: tf.DType = tf.float32,
    scores_at_once: int = SCORES_AT_ONCE,
) -> tf.Tensor:
    r"""Sums the weighted cross-entropy of mixtures over items.

        loss = sum_i w[i] (log sum_j e^m[i,j] - m[i,label i])
        m[i,j] = log sum_k e^(g[i,k] + q[i,k] . e[j]) - (c[j] where j is not the label of i)

    The normaliser log sum_j sum_k e^.. is that of a softmax over all pairs of interest and item:
    its gradient, that softmax, is made for some queries at a time while it is in the cache, as
    in `models.tasks.chunked_softmax`.

    Args:
        queries: [P, K, d] vectors q and [P, K] logarithms of weights g, floating.
        items: [M, d] floating.
        labels: [P] int, the row of each query's target.
        weights: [P] float32.
        correction: [M] float32, c, or None for none; see `models.tasks.retrieval`.
        excluded: [P, (columns)] int, items that do not count for a query; never its target.
        precision: Of the products with matrices; scores and sums are float32.
        scores_at_once: How many scores of interests are held at a time.

    Returns:
        Scalar float32. It can be differentiated once, by queries and items.
    """

    @tf.custom_gradient
    def normaliser(vectors, log_weight, items):  # type: ignore[no-untyped-def]
        total, *slopes = _accumulate(
            tf.cast(vectors, precision),
            log_weight,
            tf.cast(items, precision),
            labels,
            weights,
            correction,
            excluded,
            scores_at_once,
        )
        return total, lambda upstream: [upstream * slope for slope in slopes]

    own = tf.einsum("pkd,pd->pk", queries.vectors, tf.gather(items, labels))
    own = tf.reduce_logsumexp(queries.log_weight + own, axis=1)  # [P]
    return normaliser(queries.vectors, queries.log_weight, items) - tf.reduce_sum(weights * own)


def _accumulate(
    vectors: tf.Tensor,
    log_weight: tf.Tensor,
    items: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    correction: tf.Tensor | None,
    excluded: tf.RaggedTensor | None,
    scores_at_once: int,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the sum of normalisers, and its gradients by vectors, log weights and items."""
    number, (interests, dim) = tf.shape(vectors)[0], vectors.shape[1:]
    size = tf.shape(items)[0]
    step = tf.maximum(1, scores_at_once // (interests * size))
    parts = tf.maximum(1, (number + step - 1) // step)  # an empty one, where there is no query

    def body(
        part: tf.Tensor,
        total: tf.Tensor,
        by_vectors: tf.TensorArray,
        by_log_weight: tf.TensorArray,
        by_items: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray, tf.TensorArray, tf.Tensor]:
        here = slice(part * step, tf.minimum(number, (part + 1) * step))
        weight = weights[here, None]  # [p, 1]
        query = tf.reshape(vectors[here], [-1, dim])  # [p K, d]
        products = tf.cast(tf.matmul(query, items, transpose_b=True), tf.float32)
        logits = tf.reshape(products, [-1, interests, size]) + log_weight[here][:, :, None]
        if correction is not None or excluded is not None:
            left_out = None if excluded is None else excluded[here]
            nothing = tf.zeros([tf.shape(weight)[0], size])
            logits += corrected(nothing, labels[here], correction, left_out)[:, None]
        logits = tf.reshape(logits, [-1, interests * size])  # of all pairs
        share = tf.nn.softmax(logits)
        # The greatest probability is 1 / sum e^(s - max s): it holds the logarithm of the sum.
        log_sum = tf.reduce_max(logits, axis=1) - tf.math.log(tf.reduce_max(share, axis=1))
        share = tf.reshape(share, [-1, interests, size])
        slope = tf.cast(tf.reshape(share, [-1, size]), query.dtype)  # [p K, M]
        by_query = tf.reshape(tf.matmul(slope, items), [-1, interests, dim])
        by_query = weight[:, :, None] * tf.cast(by_query, tf.float32)
        weighted = query * tf.cast(tf.repeat(weight, interests, axis=0), query.dtype)
        by_items += tf.cast(tf.matmul(slope, weighted, transpose_a=True), tf.float32)
        return (
            part + 1,
            total + tf.reduce_sum(weight[:, 0] * log_sum),
            by_vectors.write(part, by_query),
            by_log_weight.write(part, weight * tf.reduce_sum(share, axis=2)),
            by_items,
        )

    def array(*shape: int) -> tf.TensorArray:
        return tf.TensorArray(tf.float32, parts, infer_shape=False, element_shape=[None, *shape])

    start = (0, 0.0, array(interests, dim), array(interests), tf.zeros(tf.shape(items), tf.float32))
    _, total, by_vectors, by_log_weight, by_items = tf.while_loop(
        lambda part, *_: part < parts, body, start, parallel_iterations=2
    )
    by_vectors = tf.reshape(by_vectors.concat(), [number, interests, dim])
    by_log_weight = tf.reshape(by_log_weight.concat(), [number, interests])
    return total, by_vectors, by_log_weight, by_items
