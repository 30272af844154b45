"""The softmax over many items, a whole catalogue even, without ever holding all scores."""

from __future__ import annotations

import tensorflow as tf

from models.tasks.excluded import NEVER
from models.tasks.excluded import leave_out
from models.tasks.excluded import replace_own

SCORES_AT_ONCE = 1 << 21  # 8 MiB, which a processor's cache can keep


def softmax_loss(
    queries: tf.Tensor,
    items: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    correction: tf.Tensor | None = None,
    excluded: tf.RaggedTensor | None = None,
    smoothing: float = 0.0,
    precision: tf.DType = tf.float32,
    scores_at_once: int = SCORES_AT_ONCE,
) -> tf.Tensor:
    r"""Sums the weighted cross-entropy of queries over items.

        loss = sum_i w[i] (log sum_j e^s[i,j] - (1 - a) s[i,label i] - a mean_j s[i,j])
        s[i,j] = q[i] . e[j] - (c[j] where j is not the label of i)

    A batch of a sequence model has thousands of queries, whose scores for a catalogue
    are hundreds of megabytes, read and written again for the gradient. Here
    they are made for some queries at a time, and their gradient

        dQ = diag(w) (softmax(s) - y) E,   dE = (softmax(s) - y)' diag(w) Q

    at once, while they are in the cache; what is kept is as large as Q and E. The value
    is a plain sum, so the gradient needs to know nothing that comes later.

    Args:
        queries: [P, d] floating.
        items: [M, d] floating.
        labels: [P] int, the row of each query's target.
        weights: [P] float32.
        correction: [M] float32, c, or None for none; see `models.tasks.retrieval`.
        excluded: [P, (columns)] int, items that do not count for a query; never its target.
        smoothing: a, the share of the label that is spread over the items that count.
        precision: Of the products with matrices; scores and sums are float32.
        scores_at_once: How many scores are held at a time.

    Returns:
        Scalar float32. It can be differentiated once, by queries and items.
    """

    @tf.custom_gradient
    def loss(queries: tf.Tensor, items: tf.Tensor):  # type: ignore[no-untyped-def]
        total, by_queries, by_items = _accumulate(
            tf.cast(queries, precision),
            tf.cast(items, precision),
            labels,
            weights,
            correction,
            excluded,
            smoothing,
            scores_at_once,
        )

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            of_queries = tf.cast(upstream * by_queries, queries.dtype)
            return of_queries, tf.cast(upstream * by_items, items.dtype)

        return total, gradient

    return loss(queries, items)


def _accumulate(
    queries: tf.Tensor,
    items: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    correction: tf.Tensor | None,
    excluded: tf.RaggedTensor | None,
    smoothing: float,
    scores_at_once: int,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the loss and its gradients by queries [P, d] and items [M, d], all float32."""
    number, dim = tf.shape(queries)[0], queries.shape[1]
    step = tf.maximum(1, scores_at_once // tf.shape(items)[0])
    parts = tf.maximum(1, (number + step - 1) // step)  # an empty one, where there is no query

    def body(
        part: tf.Tensor, total: tf.Tensor, slopes: tf.TensorArray, by_items: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray, tf.Tensor]:
        here = slice(part * step, tf.minimum(number, (part + 1) * step))
        query, weight = queries[here], weights[here, None]
        scores = tf.cast(tf.matmul(query, items, transpose_b=True), tf.float32)  # [p, M]
        left_out = None if excluded is None else excluded[here]
        logits = corrected(scores, labels[here], correction, left_out)
        loss, slope = _cross_entropy(logits, labels[here], smoothing)
        slope = tf.cast(slope, query.dtype)
        by_query = weight * tf.cast(tf.matmul(slope, items), tf.float32)  # [p, d]
        weighted = query * tf.cast(weight, query.dtype)
        by_items += tf.cast(tf.matmul(slope, weighted, transpose_a=True), tf.float32)
        total += tf.reduce_sum(weight[:, 0] * loss)
        return part + 1, total, slopes.write(part, by_query), by_items

    slopes = tf.TensorArray(tf.float32, parts, infer_shape=False, element_shape=[None, dim])
    start = (tf.constant(0), tf.constant(0.0), slopes, tf.zeros(tf.shape(items), tf.float32))
    _, total, slopes, by_items = tf.while_loop(
        lambda part, *_: part < parts, body, start, parallel_iterations=2
    )
    by_queries = tf.reshape(slopes.concat(), [number, dim])
    # The label's own share of the slopes, for all queries at once.
    own = (1.0 - smoothing) * weights[:, None]  # [P, 1]
    by_queries -= own * tf.cast(tf.gather(items, labels), tf.float32)
    by_items -= tf.math.unsorted_segment_sum(
        own * tf.cast(queries, tf.float32), labels, tf.shape(items)[0]
    )
    return total, by_queries, by_items


def corrected(
    scores: tf.Tensor,
    labels: tf.Tensor,
    correction: tf.Tensor | None,
    excluded: tf.RaggedTensor | None,
) -> tf.Tensor:
    """Takes excluded items out, and the correction off all others but each row's label.

    Args:
        scores: [p, M] floating.
        labels: [p] int.
        correction: [M] float32, or None.
        excluded: [p, (columns)] int, or None.

    Returns:
        [p, M], the logits of the softmax.
    """
    if correction is None:
        return leave_out(scores, excluded)
    own = tf.gather(scores, labels, batch_dims=1)  # [p]
    return replace_own(leave_out(scores - correction[None, :], excluded), labels, own)


def _cross_entropy(
    scores: tf.Tensor, labels: tf.Tensor, smoothing: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the losses [p] of scores [p, M], and their slopes but for the label's own."""
    # TensorFlow's fused kernel takes four times as long as its softmax. The greatest
    # probability is 1 / sum_j e^(s[j] - max s), so the softmax holds the logarithm of the sum.
    share = tf.nn.softmax(scores)
    log_sum = tf.reduce_max(scores, axis=1) - tf.math.log(tf.reduce_max(share, axis=1))
    own = tf.gather(scores, labels, batch_dims=1)  # [p]
    loss = log_sum - (1.0 - smoothing) * own
    if smoothing:
        counted = tf.cast(scores > NEVER, tf.float32)  # [p, M]
        even = counted / tf.reduce_sum(counted, axis=1, keepdims=True)
        loss -= smoothing * tf.reduce_sum(scores * even, axis=1)
        share -= smoothing * even
    return loss, share
