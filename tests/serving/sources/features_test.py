from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from serving.sources import features as f
from serving.sources.history import NewestEvents

HOUR, DAY = 3_600_000_000, 86_400_000_000


def made(rows, newest_rows, times=None, request_time=0, **given):
    rows = tf.constant([rows])
    shape = rows.shape
    times = times or [0] * len(newest_rows)
    newest = NewestEvents(tf.constant([newest_rows]), tf.constant([times], tf.int64))
    columns = f.make_features(
        given.get("tower", tf.zeros(shape)),
        given.get("share", tf.zeros([*shape, 2])),
        given.get("events", tf.zeros(shape, tf.int64)),
        given.get("age"),
        f.find_repeats(rows, newest),
        tf.constant([request_time], tf.int64),
    ).numpy()[0]
    return {name: columns[:, at].tolist() for at, name in enumerate(f.FEATURES)}


def test_scores_of_sources_by_hand():
    found = made(
        [1, 2],
        [-1],
        tower=tf.constant([[0.5, -2.0]]),
        share=tf.constant([[[0.03, 0.01], [0.0, 0.0]]]),
        events=tf.constant([[0, 9]], tf.int64),
        age=tf.constant([[-1, 9 * DAY]], tf.int64),
    )
    assert found[f.TOWER] == [0.5, -2.0]
    assert found[f.NEIGHBOURS] == pytest.approx([np.log(301), 0.0])
    assert found[f.NEIGHBOURS_STRONG] == pytest.approx([np.log(4), 0.0])
    assert found[f.NEIGHBOURS_OF_LAST] == pytest.approx([np.log(2), 0.0])
    assert found[f.POPULARITY] == pytest.approx([0.0, np.log(10)])
    assert found[f.UNSEEN] == [1.0, 0.0]
    assert found[f.FRESHNESS] == pytest.approx([0.0, np.log(1001) - np.log(10)], abs=1e-5)


def test_repeats_by_hand():
    # newest first: 7, 8, 7, nobody known, 8, 5; of the five known events two came before
    found = made([7, 8, 5, 6], [7, 8, 7, -1, 8, 5], [90 * HOUR, 89, 88, 87, 86, 85], 99 * HOUR)
    assert found[f.REPEAT_COUNT] == pytest.approx([np.log(3), np.log(3), np.log(2), 0.0])
    decayed = [1 + 0.36, 0.6 + 0.6**4, 0.6**5, 0.0]
    assert found[f.REPEAT_DECAYED] == pytest.approx([np.log1p(100 * one) for one in decayed])
    assert found[f.REPEAT_HABIT] == pytest.approx([0.4, 0.4, 0.4, 0.0])
    assert found["repeat_0_back"] == [1, 0, 0, 0]
    assert found["repeat_1_back"] == [0, 1, 0, 0]
    assert found["repeat_5_back"] == [0, 0, 1, 0]
    assert found[f.REPEAT_RECENCY][0] == pytest.approx(np.log(10_001) - np.log(10), abs=1e-5)
    assert found[f.REPEAT_RECENCY][3] == 0.0


def test_without_a_moment_nothing_is_recent():
    assert made([7], [7], [5])[f.REPEAT_RECENCY] == [0.0]


def test_neighbours_of_what_the_history_has_are_features_of_their_own():
    share = tf.constant([[[0.03, 0.01], [0.03, 0.01]]])
    found = made([7, 8], [7], share=share)
    assert found[f.NEIGHBOURS] == pytest.approx([np.log(301)] * 2)
    assert found[f.NEIGHBOURS_STRONG] == pytest.approx([0.0, np.log(4)])
    assert found[f.NEIGHBOURS_OF_LAST] == pytest.approx([0.0, np.log(2)])
    assert found[f.REPEAT_NEIGHBOURS] == pytest.approx([np.log(4), 0.0])
    assert found[f.REPEAT_OF_LAST] == pytest.approx([np.log(2), 0.0])


def test_padding_repeats_nothing():
    assert made([-1], [-1])[f.REPEAT_COUNT] == [0.0]


def test_buckets_begin_at_their_lengths():
    length = tf.constant([0, 1, 2, 3, 9, 10, 5_000], tf.int64)
    assert f.bucket_of(length).numpy().tolist() == [0, 1, 1, 2, 2, 3, 3]


def test_times_that_go_backwards_are_no_nan():
    found = made([7], [7], [HOUR], request_time=1, age=tf.constant([[0]], tf.int64))
    assert all(np.isfinite(values).all() for values in found.values())
