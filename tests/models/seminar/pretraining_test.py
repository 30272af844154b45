"""The losses of the pretraining search unit, each by hand."""

import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401  (chooses Keras 2)
from models.seminar.config import AlignmentConfig
from models.seminar.config import LossesConfig
from models.seminar.config import RelevanceConfig
from models.seminar.pretraining import align_channels
from models.seminar.pretraining import other_events
from models.seminar.pretraining import query_relevance
from models.seminar.pretraining import tell_next_pair
from models.seminar.pretraining import weighted_sum

D = 4
GENERATOR = np.random.default_rng(3)
ITEMS = GENERATOR.normal(size=[2, 3, D]).astype(np.float32)
QUERIES = GENERATOR.normal(size=[2, 3, D]).astype(np.float32)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def softmax(scores):
    odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def test_the_next_pair_is_told_from_others():
    z = GENERATOR.normal(size=[2, 3]).astype(np.float32)
    expected = np.logaddexp(0, z) - z * np.array([1.0, 0.0, 0.0])
    assert tell_next_pair(tf.constant(z)).numpy() == pytest.approx(expected.mean(), abs=1e-6)
    assert tell_next_pair(tf.zeros([0, 3])) == 0.0


def test_alignment_by_hand():
    channels = GENERATOR.normal(size=[3, 3, D]).astype(np.float32)
    found = align_channels(tf.constant(channels), AlignmentConfig(temperature=0.5, chunk=3))

    expected = []
    for a, b in ((0, 1), (0, 2), (1, 2)):
        one, other = unit(channels[:, a]), unit(channels[:, b])
        targets = softmax((one @ one.T + other @ other.T) / 2 / 0.5)
        logits = one @ other.T / 0.5
        both = [-(targets * np.log(softmax(x))).sum(axis=1).mean() for x in (logits, logits.T)]
        expected.append(np.mean(both))
    assert found.numpy() == pytest.approx(np.mean(expected), abs=1e-5)


def test_alignment_is_within_chunks_and_padding_is_no_item():
    channels = tf.constant(GENERATOR.normal(size=[5, 2, D]), tf.float32)
    config = AlignmentConfig(chunk=2)
    parts = [float(align_channels(channels[at : at + 2], config)) for at in (0, 2)]

    alone = float(align_channels(channels[4:], config))  # one item finds itself
    assert alone == pytest.approx(0.0, abs=1e-6)
    found = align_channels(channels, config).numpy()
    assert found == pytest.approx((2 * parts[0] + 2 * parts[1] + alone) / 5, abs=1e-5)
    assert align_channels(channels[:0], config) == 0.0
    assert align_channels(channels[:, :1], config) == 0.0


def test_alignment_draws_the_channels_of_an_item_together():
    config = AlignmentConfig(chunk=8)
    channels = tf.Variable(GENERATOR.normal(size=[8, 2, D]).astype(np.float32))
    optimizer = tf.keras.optimizers.SGD(0.5)

    def matched():
        one, other = unit(channels.numpy()[:, 0]), unit(channels.numpy()[:, 1])
        return np.mean(np.sum(one * other, axis=1))

    before = matched()
    for _ in range(30):
        with tf.GradientTape() as tape:
            loss = align_channels(tf.convert_to_tensor(channels), config)
        optimizer.apply_gradients([(tape.gradient(loss, channels), channels)])
    assert matched() > max(before + 0.3, 0.7)


def test_relevance_by_hand():
    queries = QUERIES.copy()
    queries[0, 2] = 0.0  # an event without a query
    mask = np.array([[1, 1, 1], [1, 1, 0]], np.float32)
    negatives = np.array(
        [[[1, 2], [0, 0], [0, 1]], [[1, 2], [1, 1], [0, 0]]], np.int32
    )  # of the second history 2 is no event, and 1 of 1 is the event itself
    found = query_relevance(queries, ITEMS, mask, negatives, RelevanceConfig(temperature=0.5))

    def cos(row, query, item):
        return unit(queries[row, query]) @ unit(ITEMS[row, item]) / 0.5

    expected = [
        np.log(1 + np.exp(cos(0, 0, 1) - cos(0, 0, 0)) + np.exp(cos(0, 0, 2) - cos(0, 0, 0))),
        np.log(1 + 2 * np.exp(cos(0, 1, 0) - cos(0, 1, 1))),
        np.log(1 + np.exp(cos(1, 0, 1) - cos(1, 0, 0))),
    ]
    assert found.numpy() == pytest.approx(np.mean(expected), abs=1e-5)
    nothing = query_relevance(queries * 0, ITEMS, mask, negatives, RelevanceConfig())
    assert nothing.numpy() == 0.0


def test_relevance_falls_as_the_item_comes_nearer_to_its_query():
    """The sign: minimised, it draws a query to its own item and away from the others."""
    negatives = other_events(tf.ones([1, 3]), 2, tf.constant([0, 1], tf.int64))

    def loss(share):
        items = share * unit(QUERIES[:1]) + (1 - share) * ITEMS[:1]
        given = (QUERIES[:1], items, np.ones([1, 3], np.float32), negatives)
        return query_relevance(*given, RelevanceConfig(temperature=1.0)).numpy()

    found = [loss(share) for share in (0.0, 0.3, 0.6, 1.0)]
    assert found == sorted(found, reverse=True) and found[0] > found[-1]


def test_negatives_are_the_other_events_of_a_history_each_as_likely():
    mask = tf.constant([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], tf.float32)
    drawn = other_events(mask, 3_000, tf.constant([1, 2], tf.int64)).numpy()

    assert drawn.shape == (4, 4, 3_000)
    for event in range(4):
        values, counts = np.unique(drawn[0, event], return_counts=True)
        assert set(values) == {0, 1, 2, 3} - {event}
        np.testing.assert_allclose(counts / 3_000, 1 / 3, atol=0.05)
    assert set(drawn[1, 0]) == {1} and set(drawn[1, 1]) == {0}
    assert set(drawn[2, 0]) == {0}


def test_losses_are_weighted():
    sections = {"next_pair": {"weight": 2.0}, "alignment": {"weight": 0.1}}
    config = LossesConfig.model_validate(sections)
    losses = {"next_pair": tf.constant(1.0), "alignment": tf.constant(5.0)}
    assert weighted_sum(losses, config).numpy() == pytest.approx(2.5)
    losses["relevance"] = tf.constant(4.0)
    assert weighted_sum(losses, config).numpy() == pytest.approx(6.5)
    assert weighted_sum({}, config) == 0.0
