import numpy as np
import tensorflow as tf

import models  # noqa: F401
from models.tasks.seen import seen_mask

NO_TARGET = tf.zeros([7], tf.int64)


def test_equals_the_comparison_of_all_pairs():
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 30, size=[7, 11])
    items = rng.permutation(30)[:25]

    expected = ((seen[:, :, None] == items) & (seen[:, :, None] > 0)).any(axis=1)

    np.testing.assert_array_equal(
        seen_mask(tf.constant(seen), tf.constant(items), NO_TARGET), expected
    )


def test_target_never_counts_as_seen():
    seen = tf.constant([[4, 5, 4], [4, 5, 4]], tf.int64)
    mask = seen_mask(seen, tf.constant([5, 4], tf.int64), tf.constant([4, 9], tf.int64))

    np.testing.assert_array_equal(mask, [[True, False], [True, True]])


def test_zero_is_nothing_seen():
    mask = seen_mask(tf.zeros([2, 3], tf.int64), tf.constant([0, 5], tf.int64), NO_TARGET[:2])

    np.testing.assert_array_equal(mask, np.zeros([2, 2], bool))


def test_no_seen_events_at_all():
    mask = seen_mask(tf.zeros([2, 0], tf.int64), tf.constant([4, 5], tf.int64), NO_TARGET[:2])

    np.testing.assert_array_equal(mask, np.zeros([2, 2], bool))
