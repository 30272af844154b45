"""The coarse level of a search against NumPy, and against the exact search."""

import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401  (chooses Keras 2)
from models.layers.coarse_cells import CoarseCells

V, D, H, N = 40, 6, 2, 7
GENERATOR = np.random.default_rng(6)
ITEMS = GENERATOR.normal(size=[V + 1, D]).astype(np.float32)
EVENTS = GENERATOR.integers(1, V + 1, [4, 9])
MASK = (np.arange(9) < np.array([[9], [6], [0], [9]])).astype(np.float32)
ROW = np.array([0, 0, 0, 1, 2], np.int64)  # page 2 has no event, page 3 no candidate
KERNEL = GENERATOR.normal(size=[D, D]).astype(np.float32)
QUERIES = GENERATOR.normal(size=[5, H, D // H]).astype(np.float32)
BIAS = GENERATOR.normal(size=[4, 9, H]).astype(np.float32)


def fitted(cells=N, events=3):
    layer = CoarseCells(V + 1, D, H, cells, events)
    layer.fit(ITEMS, KERNEL)
    return layer


def centroids_of(layer):
    """The means of cells, by the keys that they are projected to."""
    keys = layer.keys.numpy().transpose(1, 0, 2).reshape(-1, D)
    return keys @ np.linalg.inv(KERNEL)


def expected_shortlist(layer, page, bias):
    """The positions of the E most relevant events of a page, one candidate after the other."""
    keys, cells = layer.keys.numpy(), layer.cell_of.numpy()
    there = np.flatnonzero(MASK[page] > 0)
    relevance = np.full([len(there), H], -np.inf)
    for queries in QUERIES[page == ROW]:
        for head, query in enumerate(queries):
            scores = keys[head, cells[EVENTS[page, there]]] @ query
            scores -= scores.max()
            relevance[:, head] = np.maximum(relevance[:, head], scores)
    relevance = (relevance + bias[page, there]).max(axis=1)
    return np.sort(there[np.argsort(-relevance, kind="stable")[: layer.events]])


def test_every_item_is_in_the_cell_of_its_nearest_centroid():
    layer = fitted()
    distance = ((ITEMS[:, None] - centroids_of(layer)) ** 2).sum(axis=2)

    np.testing.assert_array_equal(layer.cell_of, distance.argmin(axis=1))
    assert set(layer.cell_of.numpy()) == set(range(N)) and layer.trainable_weights == []


@pytest.mark.parametrize("bias", [None, BIAS])
def test_the_shortlist_has_the_events_of_the_most_relevant_cells(bias):
    layer = fitted()
    found, mask = layer(QUERIES, ROW, EVENTS, MASK, bias)

    for page in (0, 1):
        given = np.zeros_like(BIAS) if bias is None else bias
        expected = expected_shortlist(layer, page, given)
        np.testing.assert_array_equal(np.sort(found[page]), expected)
    np.testing.assert_array_equal(mask, np.take_along_axis(MASK, found.numpy(), axis=1))
    np.testing.assert_array_equal(mask[2], 0.0)


def test_each_page_is_shortlisted_for_its_own_candidates_alone():
    layer = fitted()
    found = layer(QUERIES, ROW, EVENTS, MASK)[0].numpy()
    for page in (0, 1):
        part = slice(page, page + 1)
        own = ROW == page
        alone = layer(QUERIES[own], ROW[own] - page, EVENTS[part], MASK[part])[0]
        np.testing.assert_array_equal(np.sort(alone[0]), np.sort(found[page]))


def test_cells_of_one_item_each_hold_what_the_exact_search_finds():
    layer = fitted(cells=V + 1, events=4)
    keys = (ITEMS @ KERNEL).reshape(-1, H, D // H)[EVENTS[0]]  # [L, H, c]
    for query in QUERIES:
        found = layer(query[None], ROW[:1], EVENTS[:1], MASK[:1])[0].numpy()[0]
        scores = np.einsum("hc,lhc->lh", query, keys)
        scores = (scores - scores.max(axis=0)).max(axis=1)
        np.testing.assert_allclose(np.sort(scores[found]), np.sort(scores)[-4:], atol=1e-4)


def test_a_shortlist_as_long_as_the_history_is_the_history():
    found, mask = fitted(events=50)(QUERIES, ROW, EVENTS, MASK)
    np.testing.assert_array_equal(np.sort(found), np.tile(np.arange(9), [4, 1]))
    np.testing.assert_array_equal(mask, np.take_along_axis(MASK, found.numpy(), axis=1))


def test_more_candidates_have_a_longer_shortlist():
    layer = fitted(events=3)
    layer.more = 2
    for candidates, events in ((1, 3), (2, 5), (3, 7), (5, 9)):
        row = np.zeros([candidates], np.int64)
        found, mask = layer(QUERIES[:candidates], row, EVENTS[:1], MASK[:1])
        assert found.shape == mask.shape == (1, events)


def test_cells_are_saved(tmp_path):
    layer = fitted()
    copy = CoarseCells.from_config(layer.get_config())
    copy.set_weights(layer.get_weights())
    module = tf.Module()
    module.layer = copy
    given = [tf.constant(x) for x in (QUERIES, ROW, EVENTS, MASK)]
    specs = [tf.TensorSpec([None, *x.shape[1:-1], x.shape[-1]][: x.ndim], x.dtype) for x in given]
    module.find = tf.function(lambda *inputs: copy(*inputs)).get_concrete_function(*specs)
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for found, expected in zip(loaded.find(*given), layer(*given), strict=True):
        np.testing.assert_array_equal(found, expected)
