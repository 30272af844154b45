import numpy as np
import tensorflow as tf

from models.input.timelines import is_one_of
from models.input.timelines import known_events
from transforms import features as f


def test_events_of_unknown_entities_are_left_out():
    given = {
        f.EVENT_ENTITY: tf.ragged.constant([[0, 5, 0, 6], [0], [7]], dtype=tf.int64),
        f.EVENT_TYPE: tf.ragged.constant([[1, 2, 3, 4], [1], [2]], dtype=tf.int64),
        f.USER_ATTRIBUTES: tf.ragged.constant([[9, 9], [], [8]], dtype=tf.int64),
        f.CONTEXT_LENGTH: tf.ragged.constant([[3], [1], []], dtype=tf.int64),
    }
    kept = known_events(given)

    assert kept[f.EVENT_ENTITY].to_list() == [[5, 6], [], [7]]
    assert kept[f.EVENT_TYPE].to_list() == [[2, 4], [], [2]]
    assert kept[f.USER_ATTRIBUTES].to_list() == given[f.USER_ATTRIBUTES].to_list()
    assert kept[f.CONTEXT_LENGTH].to_list() == [[1], [0], [0]]  # one of the first three is known


def test_a_request_has_no_context_length():
    given = {f.EVENT_ENTITY: tf.ragged.constant([[0, 5]], dtype=tf.int64)}

    assert list(known_events(given)) == [f.EVENT_ENTITY]


def test_types_are_compared_one_by_one():
    assert is_one_of(tf.constant([[1, 2], [3, 0]], tf.int64), (2, 3)).numpy().tolist() == [
        [False, True],
        [True, False],
    ]
    assert not np.any(is_one_of(tf.constant([1, 2], tf.int64), ()))
