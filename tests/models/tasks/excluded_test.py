import numpy as np
import tensorflow as tf

import models  # noqa: F401
from models.tasks.excluded import NEVER
from models.tasks.excluded import earlier_columns
from models.tasks.excluded import leave_out
from models.tasks.excluded import seen_columns

NO_TARGET = tf.zeros([7], tf.int64)


def seen_mask(seen, items, targets):
    """The excluded columns as [B, N] bool."""
    excluded = seen_columns(seen, items, targets)
    return leave_out(tf.zeros([tf.shape(seen)[0], tf.size(items)]), excluded) == NEVER


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


def test_earlier_events_are_seen_and_later_ones_are_not():
    columns = tf.constant([[3, 0, 3, 5], [1, 2, 0, 0]])
    counts = tf.constant([[True, False, True, True], [True, True, False, False]])
    rows, places = tf.constant([0, 0, 1], tf.int64), tf.constant([1, 3, 1], tf.int64)
    excluded = earlier_columns(columns, counts, rows, places, tf.constant([4, 5, 1]))

    assert excluded.to_list() == [[3], [3, 3], [2]]  # a target is never seen


def test_nothing_is_left_out_without_columns():
    scores = tf.constant([[1.0, 2.0]])

    assert leave_out(scores, None) is scores
    np.testing.assert_array_equal(leave_out(scores, tf.ragged.constant([[]], tf.int32)), scores)
