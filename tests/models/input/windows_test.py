import numpy as np
import tensorflow as tf

from models.input import batch as b
from models.input.windows import ALL
from models.input.windows import WindowSpec
from models.input.windows import cut_last_windows
from models.input.windows import cut_windows
from transforms import features as f
from transforms import names

SECOND = 1_000_000


def timelines(entities, types=None, times=None, request_times=None):
    ragged = tf.ragged.constant
    types = types or [[1] * len(row) for row in entities]
    times = times or [[SECOND * step for step in range(len(row))] for row in entities]
    request_times = request_times or [[0]] * len(entities)
    columns = {
        f.EVENT_ENTITY: entities,
        f.EVENT_TYPE: types,
        f.EVENT_TIMESTAMP: times,
        f.REQUEST_TIME: request_times,
        f.USER_ATTRIBUTES: [[7, 8, 9]] * len(entities),
        names.REQUEST_QUERY_TOKENS: [[3]] * len(entities),
    }
    return {
        name: ragged(rows, dtype=tf.int64, ragged_rank=1, row_splits_dtype=tf.int64)
        for name, rows in columns.items()
    }


def cut(lines, rows, ends, spec, time=None):
    time = None if time is None else tf.constant(time, tf.int64)
    windows = cut_windows(
        lines, tf.constant(rows, tf.int64), tf.constant(ends, tf.int64), spec, time
    )
    return {name: values.numpy().tolist() for name, values in windows.items()}


def test_windows_are_newest_first_and_end_before_the_position():
    lines = timelines([[11, 12, 13, 14], [21, 22]])
    windows = cut(lines, [0, 0, 1, 0], [4, 2, 1, 0], WindowSpec(window=3))

    assert windows[b.HISTORY_ENTITY] == [[14, 13, 12], [12, 11, 0], [21, 0, 0], [0, 0, 0]]
    assert windows[b.HISTORY_LENGTH] == [3, 2, 1, 0]


def test_types_go_with_their_events():
    lines = timelines([[11, 12, 13]], types=[[1, 2, 3]])

    assert cut(lines, [0], [2], WindowSpec(window=2))[b.HISTORY_TYPE] == [[2, 1]]


def test_ages_count_from_the_request_and_never_are_negative():
    lines = timelines([[11, 12, 13]], times=[[0, 10 * SECOND, 30 * SECOND]])
    spec = WindowSpec(window=4, use_time=True)

    windows = cut(lines, [0, 0], [3, 3], spec, time=[40 * SECOND, 25 * SECOND])

    assert windows[b.HISTORY_AGE] == [
        [10 * SECOND, 30 * SECOND, 40 * SECOND, 0],
        [0, 15 * SECOND, 25 * SECOND, 0],
    ]


def test_without_a_request_time_ages_count_from_the_newest_event():
    lines = timelines([[11, 12]], times=[[5 * SECOND, 9 * SECOND]])
    spec = WindowSpec(window=2, use_time=True)

    assert cut(lines, [0], [2], spec, time=[0])[b.HISTORY_AGE] == [[0, 4 * SECOND]]


def test_seen_covers_more_than_the_window_and_only_the_chosen_types():
    lines = timelines([[11, 12, 13, 14]], types=[[1, 2, 1, 2]])

    of_all = cut(lines, [0], [4], WindowSpec(window=1, seen=3))
    chosen = cut(lines, [0], [4], WindowSpec(window=1, seen=ALL, seen_types=(2,)))
    nothing = cut(lines, [0], [4], WindowSpec(window=1, seen=ALL, seen_types=(9,)))

    assert of_all[b.SEEN_ENTITY] == [[14, 13, 12]]
    assert chosen[b.SEEN_ENTITY] == [[14, 0, 12, 0]]
    assert nothing[b.SEEN_ENTITY] == [[0, 0, 0, 0]]


def test_attributes_and_query_words_are_padded_and_cut():
    spec = WindowSpec(window=1, attributes=2, query_tokens=2)
    windows = cut(timelines([[11], [21]]), [1], [1], spec)

    assert windows[b.USER_ATTRIBUTES] == [[7, 8]]
    assert windows[b.QUERY_TOKENS] == [[3, 0]]


def test_queries_go_with_their_events_padded_and_cut():
    lines = timelines([[11, 12, 13], [], [31]])
    words = [[[7], [8], [4, 5, 6]], [], [[]]]
    lines[names.EVENT_QUERY_TOKENS] = tf.ragged.constant(words, tf.int64, row_splits_dtype=tf.int64)
    spec = WindowSpec(window=2, event_query_tokens=2)

    assert b.HISTORY_QUERY not in cut(lines, [0], [3], WindowSpec(window=2))
    windows = cut(lines, [0, 0, 1, 2], [3, 1, 0, 1], spec)
    nothing, padding = [0, 0], [[0, 0], [0, 0]]
    assert windows[b.HISTORY_QUERY] == [[[4, 5], [8, 0]], [[7, 0], nothing], padding, padding]
    entities = [[11, 0, 13], [], [31]]  # an event of an unknown item takes its query with it
    lines |= timelines(entities)
    last = cut_last_windows(lines, WindowSpec(window=3, event_query_tokens=1))
    assert last[b.HISTORY_QUERY].numpy().tolist() == [[[4], [7], [0]], [[0]] * 3, [[0]] * 3]


def test_last_windows_hold_the_newest_events_of_every_timeline():
    lines = timelines([[11, 12, 13], [], [31]], request_times=[[9 * SECOND], [], [0]])
    windows = cut_last_windows(lines, WindowSpec(window=2, use_time=True))

    np.testing.assert_array_equal(windows[b.HISTORY_ENTITY], [[13, 12], [0, 0], [31, 0]])
    np.testing.assert_array_equal(windows[b.HISTORY_LENGTH], [2, 0, 1])
    ages = np.array(windows[b.HISTORY_AGE]) / SECOND
    np.testing.assert_array_equal(ages, [[7.0, 8.0], [0.0, 0.0], [0.0, 0.0]])


def test_events_of_unknown_entities_take_no_place():
    lines = timelines([[11, 0, 12, 0, 0], [0, 0]])
    windows = cut_last_windows(lines, WindowSpec(window=2, seen=ALL, use_time=True))

    np.testing.assert_array_equal(windows[b.HISTORY_ENTITY], [[12, 11], [0, 0]])
    np.testing.assert_array_equal(windows[b.HISTORY_LENGTH], [2, 0])
    np.testing.assert_array_equal(windows[b.HISTORY_AGE], [[0, 2 * SECOND], [0, 0]])
    np.testing.assert_array_equal(windows[b.SEEN_ENTITY], [[12, 11], [0, 0]])


def test_no_event_at_all_gives_empty_windows():
    lines = timelines([[], []])
    windows = cut_last_windows(lines, WindowSpec(window=2, seen=ALL, use_time=True))

    np.testing.assert_array_equal(windows[b.HISTORY_ENTITY], np.zeros([2, 2]))
    np.testing.assert_array_equal(windows[b.HISTORY_LENGTH], [0, 0])
    assert windows[b.SEEN_ENTITY].shape[0] == 2
