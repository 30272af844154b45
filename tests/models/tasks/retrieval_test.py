import math

import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401  (chooses Keras 2)
from models.tasks.chunked_softmax import corrected
from models.tasks.gbce import generalised_binary_cross_entropy
from models.tasks.negatives import NegativeSampler
from models.tasks.retrieval import Retrieval

# Two rows, two sampled negatives; scores are easy to compute by hand.
QUERY = tf.constant([[1.0, 0.0], [0.0, 2.0]])
TARGET = tf.constant([[2.0, 1.0], [1.0, 1.0]])
SAMPLED = tf.constant([[0.5, 0.5], [3.0, -1.0]])
CANDIDATES = tf.concat([TARGET, SAMPLED], axis=0)
LABELS = tf.constant([0, 1])
ABSENT = 1e30  # the correction of what is no negative
# Scores: row 0 gives its target 2, the other's 1, the negatives .5 and 3;
# row 1 gives its target 2, the other's 2, the negatives 1 and -2.


def in_batch(query, candidates=CANDIDATES, labels=LABELS, **more):
    return Retrieval()(query, candidates, labels=labels, **more)


def minus_log_softmax(positive, *negatives):
    return math.log(sum(math.exp(score) for score in (positive, *negatives))) - positive


def test_loss_without_correction_is_the_softmax_over_target_and_negatives():
    rows = [minus_log_softmax(2, 1, 0.5, 3), minus_log_softmax(2, 2, 1, -2)]
    assert in_batch(QUERY).numpy() == pytest.approx(np.mean(rows), abs=1e-6)


def test_loss_with_sampled_negatives_alone():
    loss = in_batch(QUERY, correction=tf.constant([ABSENT, ABSENT, 0.0, 0.0]))

    rows = [minus_log_softmax(2, 0.5, 3), minus_log_softmax(2, 1, -2)]
    assert loss.numpy() == pytest.approx(np.mean(rows), abs=1e-6)


def test_log_q_is_subtracted_from_every_negative_but_not_from_the_target():
    count = np.array([0.5, 0.25, 2.0, 4.0])  # of the candidates among the negatives
    loss = in_batch(QUERY, correction=tf.constant(np.log(count), tf.float32))

    log = [math.log(c) for c in count]
    rows = [
        minus_log_softmax(2, 1 - log[1], 0.5 - log[2], 3 - log[3]),
        minus_log_softmax(2, 2 - log[0], 1 - log[2], -2 - log[3]),
    ]
    assert loss.numpy() == pytest.approx(np.mean(rows), abs=1e-6)


def test_corrected_estimate_of_the_sum_is_unbiased():
    """Over many draws, the negatives' share of the sum is that of all items but the target."""
    scores = np.random.default_rng(0).normal(size=6).astype(np.float32)
    sampler = NegativeSampler(np.array([0, 40, 30, 10, 10, 5, 5]), in_batch=False)
    number = 20_000
    ids = sampler.sample(number, tf.constant([0, 1], tf.int64))
    items, place, many = tf.unique_with_counts(ids)
    log_count = sampler.log_expected_count(items, tf.constant(1), number)
    logits = corrected(
        tf.gather(scores[None], items - 1, axis=1),
        tf.argmax(tf.equal(items, 1), output_type=tf.int32)[None],  # item 1 is the target
        log_count - tf.math.log(tf.cast(many, tf.float32)),
        None,
    )

    assert np.exp(logits).sum() == pytest.approx(np.exp(scores).sum(), rel=0.03)


def test_weights_make_a_weighted_mean():
    loss = in_batch(QUERY, sample_weight=tf.constant([3.0, 1.0]))

    rows = [minus_log_softmax(2, 1, 0.5, 3), minus_log_softmax(2, 2, 1, -2)]
    assert loss.numpy() == pytest.approx((3 * rows[0] + rows[1]) / 4, abs=1e-6)


def test_what_is_no_negative_gets_no_gradient_but_as_a_target():
    candidates = tf.Variable(CANDIDATES)
    correction = tf.constant([ABSENT, ABSENT, ABSENT, 0.0])
    with tf.GradientTape() as tape:
        loss = in_batch(QUERY[:1], candidates, LABELS[:1], correction=correction)
    gradient = tape.gradient(loss, candidates).numpy()

    wrong = 1 / (1 + math.exp(2 - 3))  # the share of the only negative
    np.testing.assert_allclose(gradient[0], [-wrong, 0.0], atol=1e-6)
    np.testing.assert_allclose(gradient[3], [wrong, 0.0], atol=1e-6)
    np.testing.assert_array_equal(gradient[1:3], np.zeros([2, 2]))


def test_what_is_no_negative_stays_out_whatever_the_size_of_its_score():
    huge = tf.constant([[2.0, 1.0], [1e9, 0.0], [0.0, 0.0]])
    loss = in_batch(QUERY[:1], huge, LABELS[:1], correction=tf.constant([0.0, ABSENT, 0.0]))

    assert loss.numpy() == pytest.approx(minus_log_softmax(2, 0), abs=1e-6)


@pytest.mark.parametrize("correction", [None, tf.zeros([4])])
def test_excluded_negatives_do_not_count(correction):
    excluded = tf.ragged.constant([[3], [2]], dtype=tf.int32)
    loss = in_batch(QUERY, correction=correction, excluded=excluded)

    rows = [minus_log_softmax(2, 1, 0.5), minus_log_softmax(2, 2, -2)]
    assert loss.numpy() == pytest.approx(np.mean(rows), abs=1e-6)


def test_no_negative_at_all_gives_zero_and_finite_gradients():
    query = tf.Variable(QUERY[:1])
    with tf.GradientTape() as tape:
        loss = in_batch(query, TARGET[:1], LABELS[:1])

    assert loss.numpy() == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, query), np.zeros([1, 2]))


def test_best_of_several_query_vectors_counts():
    several = tf.stack([QUERY, tf.zeros_like(QUERY)], axis=1)  # the second vector scores 0
    log = math.log(4.0)
    loss = in_batch(several, correction=tf.constant([log, 0.0, 0.0, 0.0]))

    rows = [minus_log_softmax(2, 1, 0.5, 3), minus_log_softmax(2, 2 - log, 1, 0)]
    assert loss.numpy() == pytest.approx(np.mean(rows), abs=1e-6)


def test_label_smoothing_spreads_the_label():
    scores = np.array([2.0, 1.0, 0.5, 3.0])
    loss = Retrieval(label_smoothing=0.2)(QUERY[:1], CANDIDATES, labels=LABELS[:1])

    log_softmax = scores - np.log(np.exp(scores).sum())
    expected = -0.8 * log_softmax[0] - 0.2 * log_softmax.mean()
    assert loss.numpy() == pytest.approx(expected, abs=1e-6)


def chance(score, items):
    """The probability of a score where every one of the items starts with 1 / items."""
    return 1.0 / (1.0 + (items - 1) * math.exp(-score))


@pytest.mark.parametrize("calibration", [0.0, 0.75, 1.0])
def test_calibrated_binary_cross_entropy(calibration):
    drawn = tf.constant([0.0, 1.0, 2.0, 1.0])  # row 1's own target is drawn, too
    hidden = tf.ragged.constant([[3], []], dtype=tf.int32)
    loss = generalised_binary_cross_entropy(
        QUERY, CANDIDATES, LABELS, drawn, 21, calibration, hidden
    )

    beta = 1 - calibration * (1 - 4 / 20)
    rows = [
        -beta * math.log(chance(2, 21))
        - math.log(1 - chance(1, 21))
        - 2 * math.log(1 - chance(0.5, 21)),
        -beta * math.log(chance(2, 21))
        - 2 * math.log(1 - chance(1, 21))
        - math.log(1 - chance(-2, 21)),
    ]
    assert loss.numpy() == pytest.approx(np.mean(rows) / 5, abs=1e-6)


def test_calibrated_binary_cross_entropy_starts_at_rest():
    """Where all items are equally likely and score 0, being a target outweighs being none."""
    candidates = tf.Variable(tf.zeros([50, 1]))
    with tf.GradientTape() as tape:
        loss = generalised_binary_cross_entropy(
            tf.ones([50, 1]), candidates, tf.range(50), tf.ones([50]), 50, calibration=0.75
        )
    np.testing.assert_allclose(tape.gradient(loss, candidates), np.zeros([50, 1]), atol=1e-8)


def test_config_round_trip():
    task = Retrieval.from_config(Retrieval(label_smoothing=0.1, name="task").get_config())

    assert task.get_config() == {"label_smoothing": 0.1, "name": "task"}
