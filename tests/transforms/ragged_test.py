from __future__ import annotations

import tensorflow as tf

from transforms.ragged import first_or
from transforms.ragged import per_value
from transforms.ragged import positions

VALUES = tf.ragged.constant([[7, 8, 9], [], [5]], dtype=tf.int64, row_splits_dtype=tf.int64)
NOTHING = tf.ragged.constant([[], []], dtype=tf.int64, row_splits_dtype=tf.int64)


def test_first_or():
    assert first_or(VALUES, -1).numpy().tolist() == [7, -1, 5]
    assert first_or(NOTHING, 3).numpy().tolist() == [3, 3]


def test_positions():
    assert positions(VALUES).numpy().tolist() == [0, 1, 2, 0]
    assert positions(NOTHING).numpy().tolist() == []


def test_per_value():
    assert per_value(tf.constant([1, 2, 3]), VALUES).numpy().tolist() == [1, 1, 1, 3]
