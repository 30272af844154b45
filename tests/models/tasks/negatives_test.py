import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401
from models.tasks.negatives import NegativeSampler

COUNTS = np.array([0, 90, 0, 9, 1])  # items 1, 3 and 4 have targets


def test_probability_is_the_stated_mix():
    sampler = NegativeSampler(COUNTS, exponent=0.5, uniform_share=0.25)

    powered = np.sqrt([90, 9, 1])
    expected = 0.25 / 3 + 0.75 * powered / powered.sum()
    np.testing.assert_allclose(sampler.probability(tf.constant([1, 3, 4])), expected, rtol=1e-6)
    np.testing.assert_array_equal(sampler.probability(tf.constant([0, 2])), [0.0, 0.0])


@pytest.mark.parametrize("exponent, uniform_share", [(1.0, 0.0), (0.75, 0.5), (0.0, 0.0)])
def test_draws_follow_the_probability(exponent, uniform_share):
    tf.random.set_seed(3)
    counts = np.arange(200) ** 2
    sampler = NegativeSampler(counts, exponent, uniform_share)
    number = 200_000

    drawn = np.bincount(sampler.sample(number, [1, 2]), minlength=200)

    expected = number * sampler.probability(tf.range(200)).numpy().astype(np.float64)
    assert drawn[0] == 0 and expected.sum() == pytest.approx(number)
    chi_square = ((drawn[1:] - expected[1:]) ** 2 / expected[1:]).sum()
    assert chi_square < 199 + 4 * np.sqrt(2 * 199)  # four deviations above the mean


def test_expected_count_equals_the_mean_over_batches():
    rng = np.random.default_rng(0)
    tf.random.set_seed(0)
    sampler = NegativeSampler(COUNTS, exponent=0.75, uniform_share=0.5)
    batch, number, times = 8, 16, 4000
    probability = COUNTS / COUNTS.sum()
    others = rng.multinomial(batch - 1, probability, size=times).mean(axis=0)
    sampled = np.bincount(sampler.sample(number * times, [1, 2]), minlength=5) / times

    items = tf.constant([1, 3, 4])
    expected = np.exp(sampler.log_expected_count(items, tf.constant(batch), number))

    np.testing.assert_allclose(expected, (others + sampled)[[1, 3, 4]], rtol=0.05)


def test_popular_items_are_corrected_downwards():
    sampler = NegativeSampler(COUNTS)
    log_count = sampler.log_expected_count(tf.constant([1, 3, 4]), tf.constant(32), 64).numpy()

    assert log_count[0] > log_count[1] > log_count[2]


def test_without_in_batch_negatives_only_draws_count():
    sampler = NegativeSampler(COUNTS, in_batch=False)
    items = tf.constant([1, 3, 4])

    expected = np.log(16 * sampler.probability(items).numpy())
    log_count = sampler.log_expected_count(items, tf.constant(999), 16)
    np.testing.assert_allclose(log_count, expected, rtol=1e-6)


@pytest.mark.parametrize("in_batch", [False, True])
def test_a_queue_holds_items_as_often_as_they_are_targets(in_batch):
    sampler = NegativeSampler(COUNTS, in_batch=in_batch)
    items = tf.constant([1, 3, 4])

    share = COUNTS[[1, 3, 4]] / COUNTS.sum()
    expected = 16 * sampler.probability(items).numpy() + (100 + 7 * in_batch) * share
    log_count = sampler.log_expected_count(items, tf.constant(8), 16, 100)
    np.testing.assert_allclose(np.exp(log_count), expected, rtol=1e-5)


def test_items_that_are_never_drawn_have_a_finite_logarithm():
    sampler = NegativeSampler(COUNTS, in_batch=False)

    assert np.isfinite(sampler.log_expected_count(tf.constant([0, 2]), tf.constant(8), 16)).all()


def test_no_targets_is_an_error():
    with pytest.raises(ValueError, match="target_events"):
        NegativeSampler(np.zeros(4))
