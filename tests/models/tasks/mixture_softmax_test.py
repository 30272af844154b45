"""The softmax of a mixture in parts against the mixture of softmaxes at once."""

import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401
from models.layers.mixture import Mixture
from models.tasks.mixture_softmax import mixture_softmax_loss

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=[7, 3, 4]).astype(np.float32)
LOG_WEIGHT = np.log(RNG.dirichlet(np.ones(3), size=7)).astype(np.float32)
ITEMS = RNG.normal(size=[5, 4]).astype(np.float32)
LABELS = np.array([0, 4, 2, 2, 1, 3, 0])
WEIGHTS = np.array([1.0, 2.0, 0.0, 0.5, 1.0, 1.0, 3.0], np.float32)
CORRECTION = np.array([0.5, -1.0, 1e30, 0.0, 2.0], np.float32)  # item 2 is no negative
EXCLUDED = [[1], [], [0, 1], [3], [0, 2, 3], [4, 4], []]


def oracle(vectors, log_weight, items, excluded, correction):
    """The loss by shares of softmaxes: sum_k (w[k] Z[k] / sum w Z) softmax_k(label)."""
    scores = tf.einsum("pkd,nd->pkn", vectors, items)
    own = np.eye(5, dtype=bool)[LABELS]  # [7, 5]
    counted = np.ones([7, 5], bool)
    for row, columns in enumerate(excluded):
        counted[row, columns] = False
    if correction is not None:
        lost = np.where(own, 0.0, np.where(correction < 9, correction, 0.0)).astype(np.float32)
        scores -= lost[:, None]
        counted &= own | (correction < 9)
    scores = tf.where(counted[:, None], scores, -np.inf)
    share = tf.nn.softmax(log_weight + tf.reduce_logsumexp(scores, axis=2))  # [7, 3]
    chance = tf.einsum("pk,pkn->pn", share, tf.nn.softmax(scores))
    return -tf.reduce_sum(WEIGHTS * tf.math.log(chance[own]))


@pytest.mark.parametrize("scores_at_once", [1, 30, 45, 1_000])
@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("correction", [None, CORRECTION])
def test_value_and_gradients_equal_those_of_a_mixture_of_softmaxes(
    scores_at_once, exclude, correction
):
    excluded = EXCLUDED if exclude else [[]] * 7
    given = [tf.Variable(values) for values in (VECTORS, LOG_WEIGHT, ITEMS)]
    vectors, log_weight, items = given
    with tf.GradientTape(persistent=True) as tape:
        expected = oracle(vectors, log_weight, items, excluded, correction)
        loss = mixture_softmax_loss(
            Mixture(vectors, log_weight),
            items,
            tf.constant(LABELS),
            tf.constant(WEIGHTS),
            None if correction is None else tf.constant(correction),
            tf.ragged.constant(excluded, dtype=tf.int32) if exclude else None,
            scores_at_once=scores_at_once,
        )
        doubled = 2.0 * loss

    assert loss.numpy() == pytest.approx(expected.numpy(), rel=1e-5)
    for variable in given:
        slope = tape.gradient(expected, variable)
        np.testing.assert_allclose(tape.gradient(loss, variable), slope, atol=1e-5)
        np.testing.assert_allclose(tape.gradient(doubled, variable), 2.0 * slope, atol=1e-5)


def test_hand_computed():
    """Interests that weigh 1/4 and 3/4, whose scores are log 1, log 3 and log 5, log 1."""
    vectors = np.log([[[1.0, 3.0], [5.0, 1.0]]]).astype(np.float32)
    loss = mixture_softmax_loss(
        Mixture(tf.constant(vectors), tf.constant(np.log([[0.25, 0.75]]), tf.float32)),
        tf.eye(2),
        tf.constant([1]),
        tf.ones([1]),
    )

    assert loss.numpy() == pytest.approx(-np.log(1.5 / (4.0 + 1.5)), abs=1e-6)


def test_half_precision_is_close():
    args = Mixture(tf.constant(VECTORS), tf.constant(LOG_WEIGHT)), tf.constant(ITEMS)
    args += (tf.constant(LABELS), tf.constant(WEIGHTS))

    rough = mixture_softmax_loss(*args, precision=tf.bfloat16)
    assert rough.dtype == tf.float32
    assert rough.numpy() == pytest.approx(mixture_softmax_loss(*args).numpy(), rel=0.02)


def test_great_scores_overflow_nothing():
    vectors = tf.Variable([[[100.0], [-100.0]]])
    with tf.GradientTape() as tape:
        loss = mixture_softmax_loss(
            Mixture(vectors, tf.math.log([[0.5, 0.5]])),
            tf.constant([[10.0], [-11.0]]),
            tf.constant([0]),
            tf.ones([1]),
        )

    assert loss.numpy() == pytest.approx(100.0)  # of e^1000 + e^1100 the target has the first
    np.testing.assert_allclose(tape.gradient(loss, vectors), [[[-10.0], [-11.0]]], atol=1e-4)


def test_no_query_at_all():
    items = tf.Variable(ITEMS)
    with tf.GradientTape() as tape:
        nobody = Mixture(tf.zeros([0, 3, 4]), tf.zeros([0, 3]))
        loss = mixture_softmax_loss(nobody, items, tf.zeros([0], tf.int32), tf.zeros([0]))

    assert loss.numpy() == 0.0
    slope = tf.convert_to_tensor(tape.gradient(loss, items))
    np.testing.assert_array_equal(slope, np.zeros([5, 4]))
