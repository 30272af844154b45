from __future__ import annotations

import pytest
import tensorflow as tf

from transforms.targets import counted_events
from transforms.targets import target_events

ENTITIES = tf.ragged.constant(
    [["movie:a", "video:b", "movie:c"], [], ["movie:d", "movie:e", "movie.x:f"]],
    row_splits_dtype=tf.int64,
)
TYPES = tf.ragged.constant(
    [["watch", "watch", "buy"], [], ["watch", "click", "watch"]], row_splits_dtype=tf.int64
)
CONTEXT = tf.constant([0, 0, 2], tf.int64)
CHUNK = tf.constant([0, 0, 1], tf.int64)


def test_events_of_an_earlier_chunk_are_not_counted_again():
    counted = counted_events(ENTITIES, CONTEXT)
    assert counted.numpy().tolist() == [True, True, True, False, False, True]


@pytest.mark.parametrize(
    ("types", "candidates", "expected"),
    [
        (["*"], ["*"], [True, True, True, False, False, True]),
        (["watch"], ["*"], [True, True, False, False, False, True]),
        (["watch", "buy"], ["movie"], [True, False, True, False, False, False]),
        (["*"], ["video", "movie.x"], [False, True, False, False, False, True]),
        (["nothing"], ["*"], [False] * 6),
    ],
)
def test_an_event_is_a_target_by_position_type_and_entity(types, candidates, expected):
    eligible = target_events(ENTITIES, TYPES, CONTEXT, CHUNK, types, candidates)
    assert eligible.numpy().tolist() == expected


def test_the_first_event_of_a_later_chunk_without_context_is_no_target():
    none = tf.zeros([3], tf.int64)
    eligible = target_events(ENTITIES, TYPES, none, CHUNK, ["*"], ["*"])
    assert eligible.numpy().tolist() == [True, True, True, False, True, True]


def test_the_type_of_an_entity_is_no_pattern():
    entities = tf.ragged.constant([["a:1", "moviex:1", "mo.iex:1"]], row_splits_dtype=tf.int64)
    types = tf.ragged.constant([["w", "w", "w"]], row_splits_dtype=tf.int64)
    none = tf.constant([0], tf.int64)
    eligible = target_events(entities, types, none, none, ["*"], ["mo.iex"])
    assert eligible.numpy().tolist() == [False, False, True]
