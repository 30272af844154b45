import math

import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401  (chooses Keras 2)
from models.tasks.retrieval import Retrieval

# Two rows, two sampled negatives; scores are easy to compute by hand.
QUERY = tf.constant([[1.0, 0.0], [0.0, 2.0]])
TARGET = tf.constant([[2.0, 1.0], [1.0, 1.0]])  # of items 5 and 7
SAMPLED = tf.constant([[0.5, 0.5], [3.0, -1.0]])  # items 8 and 9
TARGET_IDS = tf.constant([5, 7], tf.int64)
SAMPLED_IDS = tf.constant([8, 9], tf.int64)
# Scores: row 0 gives its target 2, the other's 1, the negatives .5 and 3;
# row 1 gives its target 2, the other's 2, the negatives 1 and -2.


def in_batch(query, target, sampled, target_ids, sampled_ids, **more):
    return Retrieval()(
        query,
        target,
        target_ids=target_ids,
        negative_embeddings=tf.concat([target, sampled], 0),
        negative_ids=tf.concat([target_ids, sampled_ids], 0),
        **more,
    )


def minus_log_softmax(positive, *negatives):
    return math.log(sum(math.exp(score) for score in (positive, *negatives))) - positive


def test_loss_without_correction_is_the_softmax_over_target_and_negatives():
    loss = in_batch(QUERY, TARGET, SAMPLED, TARGET_IDS, SAMPLED_IDS)

    rows = [minus_log_softmax(2, 1, 0.5, 3), minus_log_softmax(2, 2, 1, -2)]
    assert loss.numpy() == pytest.approx(np.mean(rows), abs=1e-6)


def test_loss_with_sampled_negatives_alone():
    loss = Retrieval()(
        QUERY,
        TARGET,
        target_ids=TARGET_IDS,
        negative_embeddings=SAMPLED,
        negative_ids=SAMPLED_IDS,
    )

    rows = [minus_log_softmax(2, 0.5, 3), minus_log_softmax(2, 1, -2)]
    assert loss.numpy() == pytest.approx(np.mean(rows), abs=1e-6)


def test_log_q_is_subtracted_from_every_negative_but_not_from_the_target():
    count = np.array([0.5, 0.25, 2.0, 4.0])  # of items 5, 7, 8, 9 among the negatives
    loss = in_batch(
        QUERY,
        TARGET,
        SAMPLED,
        TARGET_IDS,
        SAMPLED_IDS,
        correction=tf.constant(np.log(count), tf.float32),
    )

    log = [math.log(c) for c in count]
    rows = [
        minus_log_softmax(2, 1 - log[1], 0.5 - log[2], 3 - log[3]),
        minus_log_softmax(2, 2 - log[0], 1 - log[2], -2 - log[3]),
    ]
    assert loss.numpy() == pytest.approx(np.mean(rows), abs=1e-6)


def test_corrected_estimate_of_the_sum_is_unbiased():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=6)
    drawn = np.array([0.4, 0.3, 0.1, 0.1, 0.05, 0.05])
    number = 4
    samples = rng.choice(6, size=[200_000, number], p=drawn)
    estimate = np.exp(scores[samples] - np.log(number * drawn[samples])).sum(axis=1).mean()

    assert estimate == pytest.approx(np.exp(scores).sum(), rel=0.01)


def test_weights_make_a_weighted_mean():
    loss = in_batch(
        QUERY, TARGET, SAMPLED, TARGET_IDS, SAMPLED_IDS, sample_weight=tf.constant([3.0, 1.0])
    )

    rows = [minus_log_softmax(2, 1, 0.5, 3), minus_log_softmax(2, 2, 1, -2)]
    assert loss.numpy() == pytest.approx((3 * rows[0] + rows[1]) / 4, abs=1e-6)


def test_duplicate_of_the_target_gets_no_gradient_as_a_negative():
    sampled = tf.Variable(SAMPLED)
    duplicate = tf.constant([5, 7], tf.int64)  # item 5 is row 0's target, 7 is row 1's
    with tf.GradientTape() as tape:
        loss = Retrieval()(
            QUERY[:1],
            TARGET[:1],
            target_ids=TARGET_IDS[:1],
            negative_embeddings=sampled,
            negative_ids=duplicate,
        )
    gradient = tape.gradient(loss, sampled).numpy()

    np.testing.assert_array_equal(gradient[0], [0.0, 0.0])
    assert np.abs(gradient[1]).max() > 0.1


def test_duplicate_stays_out_whatever_the_size_of_its_score():
    huge = tf.constant([[1e9, 0.0], [0.0, 0.0]])
    loss = Retrieval()(
        QUERY[:1],
        TARGET[:1],
        target_ids=TARGET_IDS[:1],
        negative_embeddings=huge,
        negative_ids=tf.constant([5, 8], tf.int64),
    )

    assert loss.numpy() == pytest.approx(minus_log_softmax(2, 0), abs=1e-6)


def test_excluded_negatives_do_not_count():
    excluded = tf.ragged.constant([[3], [2]])
    loss = in_batch(QUERY, TARGET, SAMPLED, TARGET_IDS, SAMPLED_IDS, excluded=excluded)

    rows = [minus_log_softmax(2, 1, 0.5), minus_log_softmax(2, 2, -2)]
    assert loss.numpy() == pytest.approx(np.mean(rows), abs=1e-6)


def test_no_negative_at_all_gives_zero_and_finite_gradients():
    query = tf.Variable(QUERY[:1])
    with tf.GradientTape() as tape:
        loss = in_batch(query, TARGET[:1], SAMPLED[:0], TARGET_IDS[:1], SAMPLED_IDS[:0])

    assert loss.numpy() == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, query), np.zeros([1, 2]))


def test_best_of_several_query_vectors_counts():
    several = tf.stack([QUERY, tf.zeros_like(QUERY)], axis=1)  # the second vector scores 0
    loss = in_batch(several, TARGET, SAMPLED, TARGET_IDS, SAMPLED_IDS)

    rows = [minus_log_softmax(2, 1, 0.5, 3), minus_log_softmax(2, 2, 1, 0)]
    assert loss.numpy() == pytest.approx(np.mean(rows), abs=1e-6)


def test_full_loss_is_the_softmax_over_all():
    loss = Retrieval().full(QUERY, tf.concat([TARGET, SAMPLED], 0), tf.constant([0, 1], tf.int64))

    rows = [minus_log_softmax(2, 1, 0.5, 3), minus_log_softmax(2, 2, 1, -2)]
    assert loss.numpy() == pytest.approx(np.mean(rows), abs=1e-6)


def test_full_loss_leaves_excluded_candidates_out():
    excluded = tf.ragged.constant([[1], []], dtype=tf.int32)
    candidates = tf.concat([TARGET, SAMPLED], 0)
    loss = Retrieval().full(QUERY, candidates, tf.constant([0, 1], tf.int64), excluded=excluded)

    rows = [minus_log_softmax(2, 0.5, 3), minus_log_softmax(2, 2, 1, -2)]
    assert loss.numpy() == pytest.approx(np.mean(rows), abs=1e-6)


def test_label_smoothing_spreads_the_label():
    scores = np.array([2.0, 1.0, 0.5, 3.0])
    loss = Retrieval(label_smoothing=0.2).full(
        QUERY[:1], tf.concat([TARGET, SAMPLED], 0), tf.constant([0], tf.int64)
    )

    log_softmax = scores - np.log(np.exp(scores).sum())
    expected = -0.8 * log_softmax[0] - 0.2 * log_softmax.mean()
    assert loss.numpy() == pytest.approx(expected, abs=1e-6)


def test_config_round_trip():
    task = Retrieval.from_config(Retrieval(label_smoothing=0.1, name="task").get_config())

    assert task.get_config() == {"label_smoothing": 0.1, "name": "task"}
