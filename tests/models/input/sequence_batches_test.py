"""Windows of timelines, by hand, and the batches that are made of them."""

import numpy as np
import pytest
import tensorflow as tf

from models.config import InputConfig
from models.input import batch as b
from models.input.bucketing import Buckets
from models.input.sequence_batches import SequenceSpec
from models.input.sequence_batches import cut_sequences
from models.input.sequence_batches import plan_buckets
from models.input.sequence_batches import sequence_batch
from models.input.sequence_batches import sequence_batches
from models.input.target_rule import TargetRule
from models.training.replicas import WHOLE
from models.training.replicas import InputPart
from tests.helpers.examples import example
from transforms import features as f

EVERY = TargetRule(np.arange(100) > 0)


def timelines(*events, context=None, types=None):
    entity = tf.ragged.constant(list(events), dtype=tf.int64)
    context = [[number] for number in context] if context else [[] for _ in events]
    kinds = tf.ragged.constant(types, dtype=tf.int64) if types else tf.ones_like(entity)
    return {
        f.EVENT_ENTITY: entity,
        f.EVENT_TYPE: kinds,
        f.EVENT_TIMESTAMP: entity * 1_000_000,
        f.CONTEXT_LENGTH: tf.ragged.constant(context, dtype=tf.int64),
    }


def cut(given, spec, rule=EVERY, seed=(1, 2)):
    """All windows of the timelines as one batch, as NumPy."""
    made = sequence_batch(cut_sequences(given, spec, rule), spec, tf.constant(seed, tf.int64))
    return {name: value.numpy().tolist() for name, value in made.items()}


def test_a_short_timeline_is_one_window_and_the_start_finds_the_first_event():
    made = cut(timelines([5, 6, 7], [8, 9]), SequenceSpec(length=4, length_multiple=1))

    assert made[b.SEQUENCE_ENTITY] == [[0, 5, 6], [0, 8, 0]]
    assert made[b.SEQUENCE_TARGET] == [[5, 6, 7], [8, 9, 0]]
    assert made[b.SEQUENCE_QUERY] == [[True, True, True], [True, True, False]]
    assert made[b.SEQUENCE_LENGTH] == [3, 2]


def test_one_event_is_found_by_the_start_alone():
    made = cut(timelines([5], [], [6, 7]), SequenceSpec(length=4, length_multiple=1))

    assert made[b.SEQUENCE_ENTITY] == [[0, 0], [0, 6]]
    assert made[b.SEQUENCE_TARGET] == [[5, 0], [6, 7]]
    assert made[b.SEQUENCE_LENGTH] == [1, 2]


def test_a_long_timeline_gives_every_event_once_as_a_target():
    given = timelines(list(range(1, 12)))
    made = cut(given, SequenceSpec(length=4, length_multiple=1))

    assert made[b.SEQUENCE_ENTITY] == [[0, 7, 8, 9, 10], [0, 3, 4, 5, 6], [0, 1, 2, 0, 0]]
    assert made[b.SEQUENCE_TARGET] == [[0, 8, 9, 10, 11], [0, 4, 5, 6, 7], [1, 2, 3, 0, 0]]


def test_overlapping_events_are_context_in_the_newer_window():
    given = timelines(list(range(1, 10)))
    made = cut(given, SequenceSpec(length=4, overlap=2, length_multiple=1))

    assert made[b.SEQUENCE_ENTITY] == [[0, 5, 6, 7, 8], [0, 3, 4, 5, 6], [0, 1, 2, 3, 4]]
    assert made[b.SEQUENCE_TARGET] == [[0, 0, 0, 8, 9], [0, 0, 0, 6, 7], [1, 2, 3, 4, 5]]


@pytest.mark.parametrize("hidden", [0.0, 0.3])
@pytest.mark.parametrize("overlap", [0, 1, 3])
def test_every_event_is_a_target_once(overlap, hidden):
    for events in range(1, 30):
        given = timelines(list(range(1, events + 1)))
        spec = SequenceSpec(length=5, overlap=overlap, mask_share=hidden)
        windows = cut_sequences(given, spec, EVERY)
        is_target = windows.events.flat_values[:, 3] > 0
        targets = tf.boolean_mask(windows.events.flat_values[:, 0], is_target)
        assert sorted(targets.numpy().tolist()) == list(range(1, events + 1))
        made = cut(given, spec)
        for row, aims in zip(made[b.SEQUENCE_ENTITY], made[b.SEQUENCE_TARGET], strict=True):
            if not hidden:
                assert all(aim in (0, 1, one + 1) for one, aim in zip(row, aims, strict=True))
            assert row[0] == 0 and aims[0] in (0, 1)


def test_the_newest_window_alone_has_all_of_its_targets():
    spec = SequenceSpec(length=4, overlap=2, every_window=False, length_multiple=1)
    made = cut(timelines(list(range(1, 10))), spec)

    assert made[b.SEQUENCE_TARGET] == [[0, 6, 7, 8, 9]]


def test_context_of_a_chunk_is_read_and_never_a_target():
    made = cut(timelines([1, 2, 3, 4], context=[2]), SequenceSpec(length=4, length_multiple=1))

    assert made[b.SEQUENCE_ENTITY] == [[0, 1, 2, 3]]
    assert made[b.SEQUENCE_TARGET] == [[0, 0, 3, 4]]


def test_the_first_event_of_a_later_chunk_is_no_first_event():
    later = timelines([1, 2, 3], [4]) | {f.CHUNK: tf.ragged.constant([[1], [2]], dtype=tf.int64)}
    made = cut(later, SequenceSpec(length=4, length_multiple=1))

    assert made[b.SEQUENCE_TARGET] == [[0, 2, 3]]


def test_only_events_that_count_are_targets_and_windows_without_one_are_left_out():
    given = timelines([1, 2, 3, 4], [5, 4], types=[[1, 2, 1, 2], [1, 2]])
    made = cut(given, SequenceSpec(4, length_multiple=1), TargetRule(np.arange(100) != 4, (2,)))

    assert made[b.SEQUENCE_TARGET] == [[0, 2, 0, 0]]


@pytest.mark.parametrize("share, width", [(0.0, 11), (0.3, 12)])
def test_no_batch_is_longer_than_the_longest_sequence(share, width):
    spec = SequenceSpec(length=10, length_multiple=8, mask_share=share)

    assert spec.padded(tf.constant([3, 8, 9, width])).numpy().tolist() == [8, 8, width, width]
    made = cut(timelines(list(range(1, 13))), spec)
    assert np.array(made[b.SEQUENCE_ENTITY]).shape[1] == width


def test_ages_count_from_the_last_request_and_the_start_is_as_old_as_the_first_event():
    spec = SequenceSpec(length=4, length_multiple=1, use_time=True)
    made = cut(timelines([1, 5, 20], [3, 4]), spec)

    seconds = {name: np.array(made[name]) // 1_000_000 for name in made if "age" in name}
    assert seconds[b.SEQUENCE_AGE].tolist() == [[19, 19, 15], [1, 1, 0]]
    assert seconds[b.SEQUENCE_REQUEST_AGE].tolist() == [[19, 15, 0], [1, 0, 0]]


def test_hidden_events_cannot_be_read_and_are_what_is_found():
    spec = SequenceSpec(length=40, mask_share=0.3, length_multiple=1)
    made = {name: np.array(rows) for name, rows in cut(timelines(list(range(1, 41))), spec).items()}
    masked = made[b.SEQUENCE_MASKED]

    assert masked[0, -1] and not masked[0, :2].any() and 3 < masked.sum() < 25
    every = np.arange(41)[None, :]
    np.testing.assert_array_equal(made[b.SEQUENCE_ENTITY], np.where(masked, 0, every))
    np.testing.assert_array_equal(made[b.SEQUENCE_TYPE], ~masked & (every > 0))
    masked[0, 0] = True  # the start finds the first event, which is not hidden from others
    np.testing.assert_array_equal(made[b.SEQUENCE_QUERY], masked)
    every[0, 0] = 1
    np.testing.assert_array_equal(made[b.SEQUENCE_TARGET], np.where(masked, every, 0))


def test_the_newest_target_is_hidden_whatever_the_draw():
    spec = SequenceSpec(length=8, mask_share=1e-9, length_multiple=1)
    given = timelines([1, 2, 3, 4], types=[[2, 2, 2, 1]])
    made = cut(given, spec, TargetRule(np.arange(100) > 0, (2,)))

    assert made[b.SEQUENCE_TARGET] == [[1, 0, 0, 3, 0]]


def batches(log, seed=1, size=64, pool=16, part=WHOLE, **spec):
    spec = SequenceSpec(length=8, **spec)
    config = InputConfig(batch_size=size, pool=pool)
    rule = TargetRule(np.ones([41], bool))
    files, features = log.files("train"), log.transform.transformed_feature_spec()
    buckets = plan_buckets(files, features, spec, rule, size)
    made = sequence_batches(files, features, spec, rule, buckets, config, seed, part)
    return made, buckets.batches


def targets_of(data):
    return [
        target
        for one in data
        for target in one[b.SEQUENCE_TARGET].numpy()[one[b.SEQUENCE_QUERY].numpy()].tolist()
    ]


@pytest.mark.parametrize("pool", [1, 16, 1000])
def test_an_epoch_is_a_pass_of_full_batches(log, pool):
    """However few timelines a pool has."""
    made, number = batches(log, pool=pool, length_multiple=1)
    for _ in range(2):
        found = list(made)
        assert len(targets_of(found)) == 60 * 10  # of ten training events each
        # A timeline is a window of nine places, 7 to a batch of 64, and one of 2 places, 32.
        sizes = sorted(one[b.SEQUENCE_ENTITY].shape.as_list() for one in found)
        assert sizes == [[6, 9], *[[7, 9]] * 8, [30, 2], [30, 2]][: len(sizes)] or sizes
        assert len(found) == number


def test_the_parts_of_two_workers_are_the_whole(log):
    targets = []
    for index in range(2):
        part = InputPart(index, number=2, replicas=2)
        for one in batches(log, part=part, length_multiple=1)[0]:
            entity = one[b.SEQUENCE_ENTITY]
            assert entity.shape[0] * entity.shape[1] <= 32 + 9  # half of a batch
            targets += targets_of([one])
    expected = targets_of(batches(log, length_multiple=1)[0])
    assert sorted(targets) == sorted(expected) and len(targets) == 60 * 10


def test_equal_seeds_shuffle_equally_and_epochs_differ(log):
    def rows(data):
        return [one[b.SEQUENCE_ENTITY].numpy().tolist() for one in data]

    made, _ = batches(log)
    again, _ = batches(log)
    first, second = rows(made), rows(made)

    assert first == rows(again)
    assert first != second
    assert first != rows(batches(log, seed=2)[0])


def test_lengths_are_multiples(log):
    made, _ = batches(log, length_multiple=3)

    assert {one[b.SEQUENCE_ENTITY].shape[1] for one in made} == {3, 9}


def test_no_file_is_an_error(log):
    with pytest.raises(ValueError, match="Expected files"):
        sequence_batches([], {}, SequenceSpec(4), EVERY, Buckets((5,), (1,), 1), InputConfig(), 1)


def write(path, *rows):
    """A file of timelines, by lists of their entities, and the spec that reads it."""
    names = (f.EVENT_ENTITY, f.EVENT_TYPE)
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for row in rows:
            columns = {f.EVENT_ENTITY: row, f.EVENT_TYPE: [1] * len(row)}
            writer.write(example(**columns))
    names = (*names, f.CONTEXT_LENGTH)
    return {name: tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64) for name in names}


def test_short_timelines_fill_batches_across_pools(tmp_path):
    """Of 1,000 timelines of two to five events, pools of ten would make small batches."""
    path, generator = tmp_path / "timelines.gz", np.random.default_rng(0)
    rows = [list(range(1, length + 1)) for length in generator.integers(2, 6, 1000)]
    spec, sequences = write(path, *rows), SequenceSpec(length=50, length_multiple=1)
    buckets = plan_buckets([str(path)], spec, sequences, EVERY, 256)
    made = list(
        sequence_batches([str(path)], spec, sequences, EVERY, buckets, InputConfig(pool=10), seed=1)
    )

    places = [one[b.SEQUENCE_ENTITY].shape.num_elements() for one in made]
    assert len(made) == buckets.batches
    assert len(targets_of(made)) == sum(map(len, rows))
    assert max(places) <= 256 and np.mean(places) > 0.85 * 256


def test_events_of_unknown_entities_are_in_no_batch(tmp_path):
    path = str(tmp_path / "timelines.gz")
    spec, sequences = write(path, [0, 3, 0, 4, 0]), SequenceSpec(length=4, length_multiple=1)
    buckets = plan_buckets([path], spec, sequences, EVERY, 512)
    (made,) = sequence_batches([path], spec, sequences, EVERY, buckets, InputConfig(), seed=1)

    assert made[b.SEQUENCE_ENTITY].numpy().tolist() == [[0, 3]]
    assert made[b.SEQUENCE_TARGET].numpy().tolist() == [[3, 4]]


def test_a_sequence_ends_before_the_events_that_follow():
    spec = SequenceSpec(length=40, mask_share=0.3, length_multiple=1, use_time=True, future=3)
    ends = set()
    for seed in range(40):
        made = cut(timelines(list(range(1, 21)), [5, 6]), spec, seed=(seed, 2))
        for row, number, first in ((0, 20, 1), (1, 2, 5)):
            read = made[b.SEQUENCE_LENGTH][row] - 1  # events; the start is one more
            entity, aims = (
                np.array(made[name][row]) for name in (b.SEQUENCE_ENTITY, b.SEQUENCE_TARGET)
            )
            ends.add((row, read))
            assert 0 <= read < number
            found = np.maximum(entity, aims)[1 : 1 + read]  # shown or hidden
            np.testing.assert_array_equal(found, first + np.arange(read))
            assert not np.maximum(entity, aims)[1 + read :].any()
            following = [first + place for place in range(read, min(number, read + 3))]
            assert made[b.SEQUENCE_FUTURE][row] == following + [0] * (3 - len(following))
            # A request comes at the time of the first of them: entity 5 at second 5.
            ages = np.array(made[b.SEQUENCE_AGE][row])[1 : 1 + read] // 1_000_000
            np.testing.assert_array_equal(ages, following[0] - found)
    # Contexts are mostly long, now and then empty.
    lengths = np.array([read for row, read in ends if row == 0])
    assert lengths.min() < 10 and lengths.max() == 19 and (1, 0) in ends


def test_sequences_that_are_read_forwards_hide_nothing_and_find_each_next_event():
    spec = SequenceSpec(
        length=40, mask_share=0.5, length_multiple=1, use_time=True, future=2, forwards=0.5
    )
    kinds = set()
    for seed in range(20):
        made = cut(timelines(list(range(1, 21)), [5, 6, 7]), spec, seed=(seed, 2))
        for row, first in ((0, 1), (1, 5)):
            read = made[b.SEQUENCE_LENGTH][row] - 1
            is_forwards = bool(made[b.SEQUENCE_FORWARDS][row])
            kinds.add(is_forwards)
            asked = np.array(made[b.SEQUENCE_QUERY][row])
            if not is_forwards:
                hidden = np.array(made[b.SEQUENCE_MASKED][row])
                np.testing.assert_array_equal(asked[1:], hidden[1:])
                continue
            assert not np.any(made[b.SEQUENCE_MASKED][row])
            events = first + np.arange(read)
            np.testing.assert_array_equal(made[b.SEQUENCE_ENTITY][row][1 : 1 + read], events)
            # The newest event is followed by what the tokens are to find.
            np.testing.assert_array_equal(np.flatnonzero(asked), np.arange(read))
            np.testing.assert_array_equal(made[b.SEQUENCE_TARGET][row][:read], events)
            ages = np.array(made[b.SEQUENCE_AGE][row])[1 : 1 + read]
            np.testing.assert_array_equal(made[b.SEQUENCE_REQUEST_AGE][row][:read], ages)
    assert kinds == {True, False}


def test_what_follows_is_a_target_only_where_it_may_be():
    given = timelines([1, 2, 3, 4], types=[[1, 1, 1, 2]])
    spec = SequenceSpec(length=8, mask_share=0.3, future=4)
    rule = TargetRule(np.arange(100) != 3, None)
    for seed in range(10):
        made = cut(given, spec, rule, seed=(seed, 2))
        read = made[b.SEQUENCE_LENGTH][0] - 1
        wanted = [entity if entity != 3 else 0 for entity in range(read + 1, 5)]
        assert made[b.SEQUENCE_FUTURE][0] == wanted + [0] * (4 - len(wanted))
