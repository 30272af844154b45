from __future__ import annotations

import tensorflow as tf

from serving.sources.history import History
from serving.sources.history import newest_events


def history():
    """Two histories of three and one events, and an empty one; -1 is nobody known."""
    return History(
        rows=tf.constant([[4, -1, 6, 9], [5, 9, 9, 9], [9, 9, 9, 9]]),
        events=tf.constant([["view", "buy", "view", "view"], ["buy"] * 4, ["view"] * 4]),
        timestamps=tf.constant([[1, 2, 3, 99], [7, 99, 99, 99], [99] * 4], tf.int64),
        length=tf.constant([3, 1, 0], tf.int64),
    )


def test_the_newest_come_first_and_nothing_beyond_a_length():
    found = newest_events(history(), 2)
    assert found.rows.numpy().tolist() == [[6, -1], [5, -1], [-1, -1]]
    assert found.timestamps.numpy()[0].tolist() == [3, 2]


def test_more_may_be_asked_for_than_there_are():
    found = newest_events(history(), 6)
    assert found.rows.numpy().tolist()[0] == [6, -1, 4, -1, -1, -1]


def test_events_of_other_types_are_passed_over():
    found = newest_events(history(), 2, ("view",))
    assert found.rows.numpy().tolist() == [[6, 4], [-1, -1], [-1, -1]]


def test_there_may_be_no_column_at_all():
    empty = History(
        tf.zeros([2, 0], tf.int32),
        tf.zeros([2, 0], tf.string),
        tf.zeros([2, 0], tf.int64),
        tf.zeros([2], tf.int64),
    )
    assert newest_events(empty, 3).rows.numpy().tolist() == [[-1] * 3] * 2
