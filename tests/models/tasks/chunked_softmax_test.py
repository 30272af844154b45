"""The softmax in parts against the softmax at once."""

import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401
from models.tasks.chunked_softmax import softmax_loss

RNG = np.random.default_rng(0)
QUERIES = RNG.normal(size=[7, 4]).astype(np.float32)
ITEMS = RNG.normal(size=[5, 4]).astype(np.float32)
LABELS = np.array([0, 4, 2, 2, 1, 3, 0])
WEIGHTS = np.array([1.0, 2.0, 0.0, 0.5, 1.0, 1.0, 3.0], np.float32)
CORRECTION = np.array([0.5, -1.0, 1e30, 0.0, 2.0], np.float32)  # item 2 is no negative
EXCLUDED = [[1], [], [0, 1], [3], [0, 2, 3], [4, 4], []]


def oracle(queries, items, smoothing, excluded, correction):
    """The loss as its formula says, over all scores at once."""
    scores = tf.matmul(queries, items, transpose_b=True)
    counted = np.ones([7, 5], bool)
    for row, columns in enumerate(excluded):
        counted[row, columns] = False
    if correction is not None:
        own = np.eye(5, dtype=bool)[LABELS]
        scores = tf.where(own, scores, scores - np.where(correction < 9, correction, 0))
        counted &= own | (correction < 9)
    scores = tf.where(counted, scores, -np.inf)
    log_sum = tf.reduce_logsumexp(scores, axis=1)
    own = tf.gather(scores, LABELS, batch_dims=1)
    even = tf.reduce_sum(tf.where(counted, scores, 0.0), axis=1) / counted.sum(axis=1)
    losses = log_sum - (1 - smoothing) * own - (smoothing * even)
    return tf.reduce_sum(WEIGHTS * losses)


@pytest.mark.parametrize("scores_at_once", [1, 10, 14, 1_000])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("correction", [None, CORRECTION])
def test_value_and_gradients_equal_those_of_the_whole(
    scores_at_once, smoothing, exclude, correction
):
    excluded = EXCLUDED if exclude else [[]] * 7
    queries, items = tf.Variable(QUERIES), tf.Variable(ITEMS)
    with tf.GradientTape(persistent=True) as tape:
        expected = oracle(queries, items, smoothing, excluded, correction)
        loss = softmax_loss(
            queries,
            items,
            tf.constant(LABELS),
            tf.constant(WEIGHTS),
            None if correction is None else tf.constant(correction),
            tf.ragged.constant(excluded, dtype=tf.int32) if exclude else None,
            smoothing,
            scores_at_once=scores_at_once,
        )
        doubled = 2.0 * loss

    assert loss.numpy() == pytest.approx(expected.numpy(), rel=1e-5)
    for variable in (queries, items):
        slope = tape.gradient(expected, variable)
        np.testing.assert_allclose(tape.gradient(loss, variable), slope, atol=1e-5)
        np.testing.assert_allclose(tape.gradient(doubled, variable), 2.0 * slope, atol=1e-5)


def test_hand_computed():
    loss = softmax_loss(
        tf.constant([[1.0]]), tf.constant([[0.0], [np.log(3.0)]]), tf.constant([1]), tf.ones([1])
    )

    assert loss.numpy() == pytest.approx(-np.log(3 / 4), abs=1e-6)


def test_half_precision_is_close():
    args = (tf.constant(LABELS), tf.constant(WEIGHTS))
    exact = softmax_loss(tf.constant(QUERIES), tf.constant(ITEMS), *args)
    rough = softmax_loss(tf.constant(QUERIES), tf.constant(ITEMS), *args, precision=tf.bfloat16)

    assert rough.dtype == tf.float32
    assert rough.numpy() == pytest.approx(exact.numpy(), rel=0.02)


def test_great_scores_overflow_nothing():
    queries = tf.Variable([[100.0], [-100.0]])
    with tf.GradientTape() as tape:
        loss = softmax_loss(
            queries, tf.constant([[10.0], [-10.0]]), tf.constant([0, 0]), tf.ones([2])
        )

    assert loss.numpy() == pytest.approx(2_000.0)
    np.testing.assert_allclose(tape.gradient(loss, queries), [[0.0], [-20.0]], atol=1e-4)


def test_no_query_at_all():
    items = tf.Variable(ITEMS)
    with tf.GradientTape() as tape:
        loss = softmax_loss(tf.zeros([0, 4]), items, tf.zeros([0], tf.int32), tf.zeros([0]))

    assert loss.numpy() == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, items), np.zeros([5, 4]))
