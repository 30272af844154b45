"""Windows of timelines, by hand, and the batches that are made of them."""

import numpy as np
import pytest
import tensorflow as tf

from models import batch as b
from models.config import InputConfig
from models.replicas import InputPart
from models.sequences import SequenceSpec
from models.sequences import count_batches
from models.sequences import cut_windows
from models.sequences import sequence_batch
from models.sequences import sequence_batches
from models.targets import TargetRule
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
    made = sequence_batch(
        given, rule.eligible(given), cut_windows(given, spec), spec, tf.constant(seed, tf.int64)
    )
    return {name: value.numpy().tolist() for name, value in made.items()}


def test_a_short_timeline_is_one_window_and_finds_each_next_event():
    made = cut(timelines([5, 6, 7], [8, 9]), SequenceSpec(length=4, length_multiple=1))

    assert made[b.SEQUENCE_ENTITY] == [[5, 6], [8, 0]]
    assert made[b.SEQUENCE_TARGET] == [[6, 7], [9, 0]]
    assert made[b.SEQUENCE_QUERY] == [[True, True], [True, False]]
    assert made[b.SEQUENCE_LENGTH] == [2, 1]


def test_one_event_gives_nothing():
    windows = cut_windows(timelines([5], [], [6, 7]), SequenceSpec(length=4))

    assert windows.starts.numpy().tolist() == [1] and windows.lengths.numpy().tolist() == [1]


def test_a_long_timeline_gives_every_event_once_as_a_target():
    given = timelines(list(range(1, 12)))
    made = cut(given, SequenceSpec(length=4, length_multiple=1))

    assert made[b.SEQUENCE_ENTITY] == [[7, 8, 9, 10], [3, 4, 5, 6], [1, 2, 0, 0]]
    assert made[b.SEQUENCE_TARGET] == [[8, 9, 10, 11], [4, 5, 6, 7], [2, 3, 0, 0]]


def test_overlapping_events_are_context_in_the_newer_window():
    given = timelines(list(range(1, 10)))
    made = cut(given, SequenceSpec(length=4, overlap=2, length_multiple=1))

    assert made[b.SEQUENCE_ENTITY] == [[5, 6, 7, 8], [3, 4, 5, 6], [1, 2, 3, 4]]
    assert made[b.SEQUENCE_TARGET] == [[0, 0, 8, 9], [0, 0, 6, 7], [2, 3, 4, 5]]


@pytest.mark.parametrize("overlap", [0, 1, 3])
@pytest.mark.parametrize("events", range(2, 30))
def test_every_event_but_the_first_is_a_target_once(events, overlap):
    given = timelines(list(range(1, events + 1)))
    made = cut(given, SequenceSpec(length=5, overlap=overlap))

    targets = sorted(target for row in made[b.SEQUENCE_TARGET] for target in row if target)
    assert targets == list(range(2, events + 1))
    for row, aims in zip(made[b.SEQUENCE_ENTITY], made[b.SEQUENCE_TARGET], strict=True):
        assert all(aim in (0, event + 1) for event, aim in zip(row, aims, strict=True))


def test_the_newest_window_alone_has_all_of_its_targets():
    spec = SequenceSpec(length=4, overlap=2, every_window=False, length_multiple=1)
    made = cut(timelines(list(range(1, 10))), spec)

    assert made[b.SEQUENCE_TARGET] == [[6, 7, 8, 9]]


def test_context_of_a_chunk_is_read_and_never_a_target():
    made = cut(timelines([1, 2, 3, 4], context=[2]), SequenceSpec(length=4, length_multiple=1))

    assert made[b.SEQUENCE_ENTITY] == [[1, 2, 3]]
    assert made[b.SEQUENCE_TARGET] == [[0, 3, 4]]


def test_only_events_that_count_are_targets():
    given = timelines([1, 2, 3, 4], types=[[1, 2, 1, 2]])
    made = cut(given, SequenceSpec(4, length_multiple=1), TargetRule(np.arange(100) != 4, (2,)))

    assert made[b.SEQUENCE_TARGET] == [[2, 0, 0]]


@pytest.mark.parametrize("share, width", [(0.0, 10), (0.3, 11)])
def test_no_batch_is_longer_than_the_longest_sequence(share, width):
    spec = SequenceSpec(length=10, length_multiple=8, mask_share=share)

    assert spec.padded(tf.constant([3, 8, 9, width])).numpy().tolist() == [8, 8, width, width]
    made = cut(timelines(list(range(1, 13))), spec)
    assert np.array(made[b.SEQUENCE_ENTITY]).shape[1] == width


def test_ages_count_from_the_last_request():
    spec = SequenceSpec(length=4, length_multiple=1, use_time=True)
    made = cut(timelines([1, 5, 20], [3, 4]), spec)

    assert made[b.SEQUENCE_AGE] == [[19.0, 15.0], [1.0, 0.0]]
    assert made[b.SEQUENCE_REQUEST_AGE] == [[15.0, 0.0], [0.0, 0.0]]


def test_hidden_events_cannot_be_read_and_are_what_is_found():
    spec = SequenceSpec(length=40, mask_share=0.3, length_multiple=1)
    made = {name: np.array(rows) for name, rows in cut(timelines(list(range(1, 41))), spec).items()}
    masked = made[b.SEQUENCE_MASKED]

    assert masked[0, -1] and not masked[0, 0] and 3 < masked.sum() < 25
    np.testing.assert_array_equal(made[b.SEQUENCE_QUERY], masked)
    every = np.arange(1, 41)[None, :]
    np.testing.assert_array_equal(made[b.SEQUENCE_ENTITY], np.where(masked, 0, every))
    np.testing.assert_array_equal(made[b.SEQUENCE_TARGET], np.where(masked, every, 0))
    np.testing.assert_array_equal(made[b.SEQUENCE_TYPE], ~masked)


def batches(log, seed=1, size=64, pool=16, **spec):
    spec = SequenceSpec(length=8, **spec)
    config = InputConfig(batch_size=size, pool=pool)
    rule = TargetRule(np.ones([41], bool))
    files, features = log.files("train"), log.transform.transformed_feature_spec()
    made = sequence_batches(files, features, spec, rule, config, seed)
    return made, count_batches(files, features, spec, config)


def test_batches_hold_each_target_once_and_little_padding(log):
    made, number = batches(log, length_multiple=1)
    found = list(made)
    targets = sum(int(tf.reduce_sum(tf.cast(one[b.SEQUENCE_QUERY], tf.int64))) for one in found)

    assert targets == 60 * 9  # ten training events each, the first has no past
    assert number == -(-540 // 64) and number <= len(found) <= number + 8  # two rests in a pool
    for one in found:
        assert (
            one[b.SEQUENCE_ENTITY].shape[0] * one[b.SEQUENCE_ENTITY].shape[1] <= 64 + 8
        )  # the last may go beyond
        lengths = one[b.SEQUENCE_LENGTH].numpy()
        assert one[b.SEQUENCE_ENTITY].shape[1] == lengths.max()


def test_the_parts_of_two_workers_are_the_whole(log):
    spec = SequenceSpec(length=8, length_multiple=1)
    given = log.files("train"), log.transform.transformed_feature_spec(), spec
    rule, config = TargetRule(np.ones([41], bool)), InputConfig(batch_size=64, pool=16)

    targets = []
    for index in range(2):
        part = InputPart(index, number=2, replicas=2)
        for one in sequence_batches(*given, rule, config, seed=1, part=part):
            entity = one[b.SEQUENCE_ENTITY]
            assert entity.shape[0] * entity.shape[1] <= 32 + 8  # half of a batch
            targets += one[b.SEQUENCE_TARGET].numpy()[one[b.SEQUENCE_QUERY].numpy()].tolist()
    whole = sequence_batches(*given, rule, config, seed=1)
    expected = [
        target
        for one in whole
        for target in one[b.SEQUENCE_TARGET].numpy()[one[b.SEQUENCE_QUERY].numpy()].tolist()
    ]
    assert sorted(targets) == sorted(expected) and len(targets) == 60 * 9


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
    made, _ = batches(log, length_multiple=8)

    assert {one[b.SEQUENCE_ENTITY].shape[1] for one in made} == {8}


def test_no_file_is_an_error(log):
    with pytest.raises(ValueError, match="Expected files"):
        sequence_batches([], {}, SequenceSpec(4), EVERY, InputConfig(), 1)


def test_events_of_unknown_entities_are_in_no_batch(tmp_path):
    path = str(tmp_path / "timelines.gz")
    columns = {f.EVENT_ENTITY: [3, 0, 4, 0], f.EVENT_TYPE: [1, 1, 2, 1], f.CONTEXT_LENGTH: [1]}
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        writer.write(example(**columns))
    spec = {name: tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64) for name in columns}
    (made,) = sequence_batches(
        [path], spec, SequenceSpec(length=4, length_multiple=1), EVERY, InputConfig(), seed=1
    )

    assert made[b.SEQUENCE_ENTITY].numpy().tolist() == [[3]]
    assert made[b.SEQUENCE_TARGET].numpy().tolist() == [[4]]
