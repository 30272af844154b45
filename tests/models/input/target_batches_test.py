from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from models.config import InputConfig
from models.input import batch as b
from models.input.target_batches import evaluation_batches
from models.input.target_batches import target_frequencies
from models.input.target_batches import training_batches
from models.input.target_rule import TargetRule
from models.input.target_rule import draw_targets
from models.input.windows import ALL
from models.input.windows import WindowSpec
from transforms import features as f
from transforms import names

COLUMNS = (f.EVENT_ENTITY, f.EVENT_TYPE, f.EVENT_TIMESTAMP, f.USER_ATTRIBUTES, f.TARGET_ENTITY)
SPEC = {
    name: tf.io.RaggedFeature(tf.int64, value_key=name, row_splits_dtype=tf.int64)
    for name in (*COLUMNS, f.CHUNK, f.CONTEXT_LENGTH, f.REQUEST_TIME)
}
SPEC[names.EVENT_QUERY_TOKENS] = tf.io.RaggedFeature(
    tf.int64,
    value_key="words",
    partitions=[tf.io.RaggedFeature.RowLengths("lengths")],
    row_splits_dtype=tf.int64,
)
ANY = TargetRule(np.ones([100], bool))


def write(path, timelines):
    """Writes transformed timelines, each a dictionary of lists of integers."""
    with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
        for timeline in timelines:
            example = tf.train.Example()
            for name, values in timeline.items():
                example.features.feature[name].int64_list.value.extend(values)
            writer.write(example.SerializeToString())
    return str(path)


def line(entities, context=0, types=None, **more):
    return {
        f.EVENT_ENTITY: entities,
        f.EVENT_TYPE: types or [1] * len(entities),
        f.CONTEXT_LENGTH: [context],
    } | more


def pairs(batches):
    """Lists (newest events .., target) of every row, in order."""
    rows = []
    for batch in batches:
        history, target = batch[b.HISTORY_ENTITY].numpy(), batch[b.TARGET_ENTITY].numpy()
        rows += [
            (*row[row > 0].tolist(), int(item)) for row, item in zip(history, target, strict=True)
        ]
    return rows


def batches_of(path, timelines, rule=ANY, windows=None, seed=1, targets_per_timeline=0, **config):
    files = [write(path / "timelines.gz", timelines)]
    windows = windows or WindowSpec(window=2)
    config = InputConfig(**({"batch_size": 4} | config))
    return training_batches(files, SPEC, windows, rule, config, targets_per_timeline, seed)


def test_every_position_is_a_target_once_an_epoch_the_first_one_without_a_history(tmp_path):
    dataset = batches_of(tmp_path, [line([1, 2, 3]), line([4]), line([5, 6])])

    expected = [(1,), (1, 2), (2, 1, 3), (4,), (5,), (5, 6)]
    assert Counter(pairs(dataset)) == Counter(expected)


def test_the_first_event_of_a_later_chunk_is_no_first_event(tmp_path):
    later = line([1, 2, 3]) | {f.CHUNK: [1]}

    assert Counter(pairs(batches_of(tmp_path, [later]))) == Counter([(1, 2), (2, 1, 3)])


def test_events_of_unknown_entities_take_no_place_of_a_window(tmp_path):
    windows = WindowSpec(window=2, seen=3)
    (batch,) = batches_of(tmp_path, [line([1, 0, 2, 0, 0, 3], context=5)], windows=windows)

    np.testing.assert_array_equal(batch[b.HISTORY_ENTITY], [[2, 1]])
    np.testing.assert_array_equal(batch[b.SEEN_ENTITY], [[2, 1, 0]])
    np.testing.assert_array_equal(batch[b.TARGET_ENTITY], [3])


def test_context_of_a_chunk_is_history_but_never_a_target(tmp_path):
    dataset = batches_of(tmp_path, [line([1, 2, 3, 4], context=3), line([5, 6], context=2)])

    assert pairs(dataset) == [(3, 2, 4)]


def test_types_and_entities_that_do_not_count_are_history_only(tmp_path):
    entities = np.ones([100], bool)
    entities[[0, 3]] = False
    rule = TargetRule(entities, types=(2,))
    dataset = batches_of(tmp_path, [line([1, 2, 3, 4], types=[1, 1, 2, 2])], rule)

    assert pairs(dataset) == [(3, 2, 4)]


def test_batches_are_full_across_pools_and_mix_users(tmp_path):
    timelines = [line([10 * user + step for step in range(1, 6)]) for user in range(1, 8)]
    dataset = batches_of(tmp_path, timelines, batch_size=8, pool=3)
    batches = list(dataset)

    assert [len(batch[b.TARGET_ENTITY]) for batch in batches] == [8, 8, 8, 8, 3]
    users = [set(batch[b.TARGET_ENTITY].numpy() // 10) for batch in batches]
    assert min(len(some) for some in users[:3]) >= 2


def test_epochs_are_shuffled_anew_and_equal_seeds_shuffle_equally(tmp_path):
    timelines = [line([10 * user + step for step in range(1, 6)]) for user in range(1, 8)]
    first, same, other = (batches_of(tmp_path, timelines, seed=seed, pool=3) for seed in (1, 1, 2))
    epoch_1, epoch_2 = pairs(first), pairs(first)

    assert epoch_1 != epoch_2 and Counter(epoch_1) == Counter(epoch_2)
    assert (epoch_1, epoch_2) == (pairs(same), pairs(same))
    assert epoch_1 != pairs(other)


def test_at_most_so_many_targets_of_a_timeline_drawn_anew_each_epoch(tmp_path):
    timelines = [line(list(range(1, 21))), line([31, 32])]
    dataset = batches_of(tmp_path, timelines, targets_per_timeline=3)
    epochs = [pairs(dataset) for _ in range(4)]

    for epoch in epochs:
        assert len(epoch) == 5 and (31, 32) in epoch and (31,) in epoch
    assert len({tuple(sorted(epoch)) for epoch in epochs}) > 1


def test_frequencies_equal_the_mean_of_what_is_drawn(tmp_path):
    files = [write(tmp_path / "t.gz", [line([1, 2, 3, 2, 3, 3]), line([4, 2]), line([2])])]
    unlimited = target_frequencies(files, SPEC, ANY, 0)
    limited = target_frequencies(files, SPEC, ANY, 2)

    assert unlimited[:6].tolist() == [0, 1, 4, 3, 1, 0]
    # Two of six of user 1, both of user 2, the one of user 3.
    np.testing.assert_allclose(limited[:6], [0, 1 / 3, 2 / 3 + 1 + 1, 1, 1, 0])

    config = InputConfig(batch_size=8)
    dataset = training_batches(files, SPEC, WindowSpec(window=1), ANY, config, 2, 0)
    drawn = np.bincount([row[-1] for row in pairs(dataset.repeat(300))], minlength=100)
    np.testing.assert_allclose(drawn / 300, limited, atol=0.1)


def test_ages_count_from_the_target(tmp_path):
    times = {f.EVENT_TIMESTAMP: [0, 5_000_000, 7_000_000]}
    windows = WindowSpec(window=2, use_time=True)
    dataset = batches_of(tmp_path, [line([1, 2, 3], context=2, **times)], windows=windows)

    (batch,) = dataset
    np.testing.assert_array_equal(batch[b.HISTORY_AGE], [[2_000_000, 7_000_000]])


def test_query_of_a_target_is_the_events(tmp_path):
    words = {"words": [7, 8, 9], "lengths": [0, 1, 2], f.CONTEXT_LENGTH: [1]}
    windows = WindowSpec(window=1, query_tokens=3)
    spec = SPEC | {
        names.REQUEST_QUERY_TOKENS: tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)
    }
    files = [write(tmp_path / "t.gz", [line([1, 2, 3], **words)])]
    (batch,) = training_batches(files, spec, windows, ANY, InputConfig(), 0, 0)

    order = np.argsort(batch[b.TARGET_ENTITY])
    np.testing.assert_array_equal(batch[b.QUERY_TOKENS].numpy()[order], [[7, 0, 0], [8, 9, 0]])


def test_evaluation_batches_read_the_whole_history_and_every_target(tmp_path):
    timelines = [
        line([1, 2, 3], **{f.TARGET_ENTITY: [9], f.REQUEST_TIME: [50]}),
        line([], **{f.TARGET_ENTITY: [7, 8]}),
    ]
    files = [write(tmp_path / "t.gz", timelines)]
    (batch,) = evaluation_batches(files, SPEC, WindowSpec(window=2, seen=ALL))

    np.testing.assert_array_equal(batch[b.HISTORY_ENTITY], [[3, 2], [0, 0]])
    np.testing.assert_array_equal(batch[b.SEEN_ENTITY], [[3, 2, 1], [0, 0, 0]])
    np.testing.assert_array_equal(batch[b.TARGET_ENTITY], [[9, 0], [7, 8]])
    np.testing.assert_array_equal(batch[b.TARGET_NUMBER], [1, 2])
    np.testing.assert_array_equal(batch[b.REQUEST_TIME], [50, 0])


def test_targets_are_drawn_in_random_order():
    timelines = {
        f.EVENT_ENTITY: tf.ragged.constant(
            [list(range(1, 50))] * 2, tf.int64, row_splits_dtype=tf.int64
        ),
        f.CONTEXT_LENGTH: tf.ragged.constant([[0], [0]], tf.int64, row_splits_dtype=tf.int64),
    }
    rows, ends = draw_targets(timelines, ANY, 0, tf.constant([1, 2], tf.int64))

    drawn = list(zip(rows.numpy(), ends.numpy(), strict=True))
    assert sorted(drawn) == [(row, end) for row in (0, 1) for end in range(49)]
    assert ends.numpy().tolist() != sorted(ends.numpy().tolist())


def test_a_limit_on_the_targets_of_a_timeline_keeps_the_shuffle():
    """Of 16 timelines with a thousand events twenty each are drawn: 1.6 % of all targets."""
    lengths = [1000] * 16 + [10] * 2000
    timelines = {
        f.EVENT_ENTITY: tf.RaggedTensor.from_row_lengths(
            tf.ones([sum(lengths)], tf.int64), tf.constant(lengths, tf.int64)
        ),
        f.CONTEXT_LENGTH: tf.RaggedTensor.from_row_lengths(
            tf.zeros([0], tf.int64), tf.zeros([len(lengths)], tf.int64)
        ),
    }
    rows, _ = draw_targets(timelines, ANY, 20, tf.constant([1, 2], tf.int64))

    counts = np.bincount(rows)
    assert counts[:16].tolist() == [20] * 16 and counts[16:].tolist() == [10] * 2000
    heavy = rows.numpy() < 16
    quarters = [part.mean() for part in np.array_split(heavy, 4)]
    np.testing.assert_allclose(quarters, heavy.mean(), atol=0.01)


def test_no_files_is_an_error():
    with pytest.raises(ValueError, match="found none"):
        training_batches([], SPEC, WindowSpec(window=1), ANY, InputConfig(), 0, 0)
