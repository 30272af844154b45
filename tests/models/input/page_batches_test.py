import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401  (chooses Keras 2)
from models.config import InputConfig
from models.input import batch as b
from models.input.negatives import Items
from models.input.page_batches import PageSpec
from models.input.page_batches import count_items
from models.input.page_batches import count_labels
from models.input.page_batches import count_pages
from models.input.page_batches import cut_pages
from models.input.page_batches import find_pages
from models.input.page_batches import page_batches
from models.input.page_batches import page_requests
from models.input.timelines import known_events
from models.input.windows import WindowSpec
from tests.helpers.examples import example
from transforms import features as f
from transforms import names
from transforms.label_config import LabelConfig

SEED = tf.constant([1, 2], tf.int64)
SPEC = WindowSpec(window=2, query_tokens=2, use_value=True)
# Two users: the first saw two pages, the second one page and has repeated context.
TIMELINES = {
    f.CONTEXT_LENGTH: [[0], [1]],
    f.EVENT_ENTITY: [[7, 5, 6], [4, 3]],
    f.EVENT_TYPE: [[1, 1, 2], [2, 1]],
    f.EVENT_TIMESTAMP: [[10, 20, 30], [15, 25]],
    f.EVENT_VALUE: [[5.0, 0.0, 2.0], [4.0, 4.0]],
    f.REQUEST_TIME: [[0], [0]],
    f.PAGE_TIMESTAMP: [[12, 28], [22]],
    f.PAGE_HISTORY_LENGTH: [[1, 2], [1]],
    f.IMPRESSION_PAGE: [[0, 0, 1], [0, 0, 0]],
    f.IMPRESSION_POSITION: [[0, 1, 0], [0, 1, 2]],
    f.IMPRESSION_ENTITY: [[5, 9, 6], [3, 2, 1]],
    f.IMPRESSION_EVENTS: [[1, 0, 3], [0, 2, 0]],
}


def ragged(values):
    dtype = tf.float32 if isinstance(values[0][0], float) else tf.int64
    return tf.ragged.constant(values, dtype, row_splits_dtype=tf.int64)


def timelines():
    made = {name: ragged(values) for name, values in TIMELINES.items()}
    words = [[[1, 2, 3], []], [[4]]]
    made[names.PAGE_QUERY_TOKENS] = tf.ragged.constant(words, tf.int64, row_splits_dtype=tf.int64)
    words = [[[8], [], []], [[], [9]]]
    made[names.EVENT_QUERY_TOKENS] = tf.ragged.constant(words, tf.int64, row_splits_dtype=tf.int64)
    made[names.REQUEST_QUERY_TOKENS] = ragged([[0], [0]])
    return made


def cut(label, chosen, **more):
    spec = PageSpec(SPEC, label, **more)
    pages = find_pages(timelines(), spec, SEED)
    known = known_events(timelines())
    return cut_pages(known, pages, tf.constant(chosen, tf.int64), spec), pages


def test_pages_of_impressions_hold_what_came_before_and_what_followed():
    label = LabelConfig(events=("click", "buy"), max_candidates=3)
    batch, pages = cut(label, [2, 0, 1])

    assert pages.rows.numpy().tolist() == [0, 0, 1]
    np.testing.assert_array_equal(batch[b.HISTORY_ENTITY], [[4, 0], [7, 0], [5, 7]])
    np.testing.assert_array_equal(batch[b.HISTORY_LENGTH], [1, 1, 2])
    np.testing.assert_array_equal(batch[b.HISTORY_VALUE], [[4, 0], [5, 0], [0, 5]])
    np.testing.assert_array_equal(batch[b.REQUEST_TIME], [22, 12, 28])
    np.testing.assert_array_equal(batch[b.QUERY_TOKENS], [[4, 0], [1, 2], [0, 0]])
    np.testing.assert_array_equal(batch[b.CANDIDATE_ENTITY], [[3, 2, 1], [5, 9, 0], [6, 0, 0]])
    np.testing.assert_array_equal(batch[b.CANDIDATE_LENGTH], [3, 2, 1])
    np.testing.assert_array_equal(batch[b.CANDIDATE_POSITION], [[0, 1, 2], [0, 1, -1], [0, -1, -1]])
    np.testing.assert_array_equal(batch[b.LABEL][:, :, 0], [[0, 0, 0], [1, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(batch[b.LABEL][:, :, 1], [[0, 1, 0], [0, 0, 0], [1, 0, 0]])


def test_a_page_keeps_its_first_candidates():
    batch, _ = cut(LabelConfig(max_candidates=2), [2])

    np.testing.assert_array_equal(batch[b.CANDIDATE_ENTITY], [[3, 2]])
    np.testing.assert_array_equal(batch[b.CANDIDATE_LENGTH], [2])
    label = LabelConfig(max_candidates=2)
    for seed in range(10):  # what is left out makes no room for what is shown further below
        spec = PageSpec(SPEC, label, negative_rate=0.25)
        pages = find_pages(timelines(), spec, tf.constant([seed, 0], tf.int64))
        assert 2 in pages.candidates[2] and 1 not in pages.candidates[2]


def test_an_event_of_an_unknown_entity_is_in_no_history_as_in_a_request():
    def given(more):
        made = {name: values[:1] for name, values in timelines().items()}
        made[f.EVENT_ENTITY] = ragged([[7, 0, 6]])
        return made | more

    spec = PageSpec(SPEC, LabelConfig(max_candidates=3))
    page = {f.PAGE_TIMESTAMP: ragged([[12, 40]]), f.PAGE_HISTORY_LENGTH: ragged([[1, 3]])}
    trained = given(page)
    pages = find_pages(trained, spec, SEED)
    batch = cut_pages(known_events(trained), pages, tf.constant([1], tf.int64), spec)

    shown = {f.CANDIDATE_ENTITY: ragged([[6]]), f.REQUEST_TIME: ragged([[40]])}
    asked = page_requests(given(shown), spec.windows)
    assert asked[b.HISTORY_ENTITY].numpy().tolist() == [[6, 7]]
    for name in set(asked) - {b.CANDIDATE_ENTITY, b.QUERY_TOKENS}:
        np.testing.assert_array_equal(batch[name], asked[name], err_msg=name)


def test_pages_of_values_are_events_with_a_value_that_no_earlier_chunk_has():
    batch, pages = cut(LabelConfig(source="values", at_least=4.0), [0, 1, 2])

    assert pages.rows.numpy().tolist() == [0, 0, 1]  # not the event without a value, nor context
    np.testing.assert_array_equal(batch[b.CANDIDATE_ENTITY], [[7], [6], [3]])
    np.testing.assert_array_equal(batch[b.LABEL][:, 0, 0], [1, 0, 1])
    np.testing.assert_array_equal(batch[b.HISTORY_ENTITY], [[0, 0], [5, 7], [4, 0]])
    np.testing.assert_array_equal(batch[b.QUERY_TOKENS], [[8, 0], [0, 0], [9, 0]])


def test_pages_of_events_are_about_candidates_and_have_random_ones_as_negatives():
    label = LabelConfig(source="events", events=("view",), negatives=50)
    items = Items.of(np.array([3, 7, 11, 12]))
    batch, pages = cut(label, [0, 1], event_types=(1,), items=items)

    assert pages.rows.numpy().tolist() == [0, 1]  # 7 and 3; 5 is no candidate
    entity = batch[b.CANDIDATE_ENTITY].numpy()
    assert entity[:, 0].tolist() == [7, 3]
    assert set(entity[0, 1:]) == set(entity[1, 1:]) == {3, 7, 11, 12}
    np.testing.assert_array_equal(batch[b.LABEL][:, :, 0], entity == entity[:, :1])


def test_negatives_are_drawn_among_what_was_available_each_as_likely():
    available_from = np.zeros(9, np.int64)
    available_from[[2, 4, 8]] = [300, 100, 200]
    items = Items.of(np.array([2, 4, 8]), available_from)
    time = tf.constant([99, 100, 250, 300], tf.int64)
    drawn = items.draw(time, 3000, SEED).numpy()

    among = [{2, 4, 8}, {4}, {4, 8}, {2, 4, 8}]  # all, where there was nothing yet
    assert [set(row.tolist()) for row in drawn] == among
    for row, expected in zip(drawn, among, strict=True):
        share = np.unique(row, return_counts=True)[1] / 3000
        np.testing.assert_allclose(share, 1 / len(expected), atol=0.05)
    np.testing.assert_array_equal(items.draw(time, 3000, SEED), drawn)
    found = items.hold(tf.constant([[0, 1, 2], [8, 9, 5000]], tf.int64))
    assert found.numpy().tolist() == [[False, False, True], [True, False, False]]


def test_negatives_are_left_out_at_a_rate_and_positives_never():
    label = LabelConfig(events=("click", "buy"), max_candidates=3)
    kept = np.zeros([3, 2])
    for seed in range(200):
        spec = PageSpec(SPEC, label, negative_rate=0.25)
        pages = find_pages(timelines(), spec, tf.constant([seed, 0], tf.int64))
        positive = [
            int((row > 0).sum()) for row in pages.label.to_list() for row in [np.array(row)]
        ]
        kept[:, 0] += positive
        kept[:, 1] += pages.candidates.row_lengths().numpy() - np.array(positive)

    np.testing.assert_array_equal(kept[:, 0], [200, 200, 200])
    np.testing.assert_allclose(kept[:, 1] / 200, [0.25, 0.0, 0.5], atol=0.12)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Thirty users with two pages of two candidates; candidate u + 1 is clicked."""
    path = tmp_path_factory.mktemp("pages") / "train.gz"
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for user in range(30):
            columns = {
                f.CONTEXT_LENGTH: 0,
                f.EVENT_ENTITY: [user + 1],
                f.EVENT_TYPE: [1],
                f.EVENT_TIMESTAMP: [10],
                f.EVENT_VALUE: [0.0],
                f.REQUEST_TIME: 0,
                f.PAGE_TIMESTAMP: [5, 15],
                f.PAGE_HISTORY_LENGTH: [0, 1],
                f.IMPRESSION_PAGE: [0, 0, 1, 1],
                f.IMPRESSION_POSITION: [0, 1, 0, 1],
                f.IMPRESSION_ENTITY: [user + 1, 31] * 2,
                f.IMPRESSION_EVENTS: [1, 0, 1, 0],
            }
            writer.write(example(**columns))
    return str(path)


def test_an_epoch_has_every_page_once_in_full_batches_and_another_order(file):
    read = [name for name in TIMELINES]
    spec = {
        name: tf.io.RaggedFeature(
            tf.float32 if name == f.EVENT_VALUE else tf.int64, row_splits_dtype=tf.int64
        )
        for name in read
    }
    spec[names.PAGE_QUERY_TOKENS] = tf.io.RaggedFeature(
        tf.int64,
        value_key=names.PAGE_QUERY_TOKENS,
        partitions=[tf.io.RaggedFeature.RowLengths("lengths")],
        row_splits_dtype=tf.int64,
    )
    pages = PageSpec(WindowSpec(window=2), LabelConfig(max_candidates=2))
    config = InputConfig(batch_size=8, pool=7)
    epochs = page_batches([file], spec, pages, config, seed=3)
    seen = []
    for _ in range(2):
        batches = list(epochs)
        assert [batch[b.CANDIDATE_ENTITY].shape for batch in batches] == [(8, 2)] * 7 + [(4, 2)]
        first = np.concatenate([batch[b.CANDIDATE_ENTITY][:, 0] for batch in batches])
        assert sorted(first) == sorted([*range(1, 31)] * 2)
        for batch in batches:  # a page after the event has it in its history
            has = batch[b.HISTORY_LENGTH].numpy() > 0
            own = batch[b.CANDIDATE_ENTITY].numpy()[:, 0]
            np.testing.assert_array_equal(batch[b.HISTORY_ENTITY][:, 0], np.where(has, own, 0))
        seen.append(first.tolist())

    assert seen[0] != seen[1]
    assert count_pages([file], spec, pages) == 60
    assert count_items([file], spec, 32)[[0, 1, 31]].tolist() == [0, 3, 60]
    counts = count_labels([file], spec, pages, 32)
    assert counts[[1, 31]].tolist() == [[2, 2], [60, 0]]
