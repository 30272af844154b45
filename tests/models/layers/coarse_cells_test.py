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
VECTORS = GENERATOR.normal(size=[5, H, D]).astype(np.float32)
BIAS = GENERATOR.normal(size=[4, 9, H]).astype(np.float32)


def fitted(cells=N, events=3):
    layer = CoarseCells(V + 1, D, cells, events)
    layer.fit(ITEMS)
    return layer


def expected_shortlist(layer, page, bias):
    """The positions of the E most relevant events of a page, one candidate after the other."""
    centroids, cells = layer.centroids.numpy(), layer.cell_of.numpy()
    there = np.flatnonzero(MASK[page] > 0)
    relevance = np.full([len(there), H], -np.inf)
    for vectors in VECTORS[page == ROW]:
        for head, vector in enumerate(vectors):
            scores = centroids[cells[EVENTS[page, there]]] @ vector
            scores -= scores.max()
            relevance[:, head] = np.maximum(relevance[:, head], scores)
    relevance = (relevance + bias[page, there]).max(axis=1)
    return np.sort(there[np.argsort(-relevance, kind="stable")[: layer.events]])


def test_every_item_is_in_the_cell_of_its_nearest_centroid():
    layer = fitted()
    distance = ((ITEMS[:, None] - layer.centroids.numpy()) ** 2).sum(axis=2)

    np.testing.assert_array_equal(layer.cell_of, distance.argmin(axis=1))
    assert set(layer.cell_of.numpy()) == set(range(N)) and layer.trainable_weights == []


@pytest.mark.parametrize("bias", [None, BIAS])
def test_the_shortlist_has_the_events_of_the_most_relevant_cells(bias):
    layer = fitted()
    found, mask = layer(VECTORS, ROW, EVENTS, MASK, bias)

    for page in (0, 1):
        given = np.zeros_like(BIAS) if bias is None else bias
        expected = expected_shortlist(layer, page, given)
        np.testing.assert_array_equal(found[page], expected)
    np.testing.assert_array_equal(mask.numpy(), np.take_along_axis(MASK, found.numpy(), axis=1))
    np.testing.assert_array_equal(mask[2], 0.0)


def test_each_page_is_shortlisted_for_its_own_candidates_alone():
    layer = fitted()
    found = layer(VECTORS, ROW, EVENTS, MASK)[0].numpy()
    for page in (0, 1):
        part = slice(page, page + 1)
        own = ROW == page
        alone = layer(VECTORS[own], ROW[own] - page, EVENTS[part], MASK[part])[0]
        np.testing.assert_array_equal(alone[0], found[page])


def test_cells_of_one_item_each_hold_what_the_exact_search_finds():
    layer = fitted(cells=V + 1, events=4)
    for vector in VECTORS.reshape(-1, D):
        one = vector[None, None]
        found = layer(one, ROW[:1], EVENTS[:1], MASK[:1])[0].numpy()[0]
        exact = np.argsort(-ITEMS[EVENTS[0]] @ vector, kind="stable")[:4]
        scores = ITEMS[EVENTS[0]] @ vector
        np.testing.assert_allclose(np.sort(scores[found]), np.sort(scores[exact]), atol=1e-5)


def test_a_shortlist_as_long_as_the_history_is_the_history():
    found, mask = fitted(events=50)(VECTORS, ROW, EVENTS, MASK)
    np.testing.assert_array_equal(found, np.tile(np.arange(9), [4, 1]))
    np.testing.assert_array_equal(mask, MASK)


def test_cells_are_saved(tmp_path):
    layer = fitted()
    copy = CoarseCells.from_config(layer.get_config())
    copy.set_weights(layer.get_weights())
    module = tf.Module()
    module.layer = copy
    given = [tf.constant(x) for x in (VECTORS, ROW, EVENTS, MASK)]
    specs = [tf.TensorSpec([None, *x.shape[1:-1], x.shape[-1]][: x.ndim], x.dtype) for x in given]
    module.find = tf.function(lambda *inputs: copy(*inputs)).get_concrete_function(*specs)
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for found, expected in zip(loaded.find(*given), layer(*given), strict=True):
        np.testing.assert_array_equal(found, expected)
