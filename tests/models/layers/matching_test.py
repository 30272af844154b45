"""Tests of the matching of nodes and of preferences."""

import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401
from models.layers.node_matching import NodeMatching
from models.layers.node_matching import masked_softmax
from models.layers.preferences import PreferenceExtraction
from models.layers.preferences import PreferenceMatching
from models.layers.preferences import sinkhorn
from tests.helpers import tower_oracles as oracle

RNG = np.random.default_rng(5)
X = RNG.normal(size=[3, 4, 6]).astype(np.float32)
Y = RNG.normal(size=[3, 5, 6]).astype(np.float32)
X_LENGTHS, Y_LENGTHS = [4, 1, 2], [2, 5, 0]


def there(lengths, width):
    return tf.sequence_mask(lengths, width)


def filled(layer, *inputs):
    """A layer whose weights are all away from their initial values."""
    layer(*inputs)
    for number, weight in enumerate(layer.trainable_variables):
        weight.assign(tf.random.stateless_normal(weight.shape, [number, 3]) * 0.5)
    return layer


def test_nodes_are_matched_by_the_formula():
    inputs = (X, Y, there(X_LENGTHS, 4), there(Y_LENGTHS, 5))
    layer = filled(NodeMatching(), *inputs)
    x, y = layer(*inputs)

    for row, (m, n) in enumerate(zip(X_LENGTHS, Y_LENGTHS, strict=True)):
        own, others = oracle.matched_nodes(layer, X[row, :m], Y[row, :n])
        np.testing.assert_allclose(x[row, :m], own, atol=1e-5)
        np.testing.assert_allclose(y[row, :n], others, atol=1e-5)


def test_nodes_by_hand():
    """The first node is like the second of the others, which tells it (0, 2) through open gates."""
    layer = NodeMatching()
    x, y = tf.constant([[[0.0, 100.0]]]), tf.constant([[[1.0, 0.0], [0.0, 2.0]]])
    layer(x, y, there([1], 1), there([2], 2))
    for dense in (layer.query, layer.key, *layer.messages):
        dense.kernel.assign(np.eye(2))
    for gate in layer.gates:
        gate.kernel.assign(np.zeros([8, 2]))
        gate.bias.assign([50.0, 50.0])

    own, others = layer(x, y, there([1], 1), there([2], 2))
    np.testing.assert_allclose(own, [[[0.0, 102.0]]], atol=1e-5)
    np.testing.assert_allclose(others, [[[1.0, 100.0], [0.0, 102.0]]], atol=1e-5)


def test_padding_changes_no_node():
    masks = there(X_LENGTHS, 4), there(Y_LENGTHS, 5)
    layer = filled(NodeMatching(), X, Y, *masks)
    junk = [
        tf.where(mask[:, :, None], values, 1e3) for values, mask in zip((X, Y), masks, strict=True)
    ]
    for found, expected, mask in zip(layer(*junk, *masks), layer(X, Y, *masks), masks, strict=True):
        mask = np.asarray(mask)
        np.testing.assert_allclose(found.numpy()[mask], expected.numpy()[mask], atol=1e-4)


def test_nodes_without_others_stay_as_they_are():
    nobody = there([0, 0, 0], 5)
    layer = filled(NodeMatching(), X, Y, there(X_LENGTHS, 4), nobody)

    np.testing.assert_array_equal(layer(X, Y, there(X_LENGTHS, 4), nobody)[0], X)


def test_a_masked_softmax_of_nothing_is_zero():
    found = masked_softmax(tf.constant([[1.0, 1.0], [3.0, 4.0]]), tf.constant([[True], [False]]))

    np.testing.assert_allclose(found, [[0.5, 0.5], [0.0, 0.0]])


def test_preferences_are_extracted_by_the_formula():
    mask = there(Y_LENGTHS, 5)
    layer = filled(PreferenceExtraction(3), Y, mask)
    found = layer(tf.where(mask[:, :, None], Y, 1e3), mask)

    for row, length in enumerate(Y_LENGTHS):
        expected = oracle.preferences_of(layer, Y[row, :length])
        np.testing.assert_allclose(found[row], expected, atol=1e-5)


@pytest.mark.parametrize("iterations", [0, 3])
def test_preferences_are_matched_by_the_formula(iterations):
    own, others = X[:, :4], Y[:, :4]
    layer = filled(PreferenceMatching(iterations), own, others)
    found = layer(own, others)

    for row in range(3):
        expected = oracle.matched_preferences(layer, own[row], others[row])
        np.testing.assert_allclose(found[row], expected, rtol=1e-3, atol=1e-4)


def test_a_side_without_preferences_says_nothing():
    layer = filled(PreferenceMatching(3), X, X)
    nothing = tf.zeros_like(X)

    np.testing.assert_allclose(layer(X, nothing), layer.norm(X), atol=1e-6)


def test_sinkhorn_makes_rows_and_columns_sum_to_one():
    logits = tf.constant(RNG.normal(size=[2, 4, 4]).astype(np.float32))
    few, many = sinkhorn(logits, 3).numpy(), sinkhorn(logits, 50).numpy()

    np.testing.assert_allclose(few.sum(axis=2), 1.0, atol=1e-5)
    np.testing.assert_allclose(many.sum(axis=1), 1.0, atol=1e-4)
    np.testing.assert_allclose(many.sum(axis=2), 1.0, atol=1e-5)
    # Dividing rows and columns keeps cross ratios.
    matrix = np.exp(logits)

    def ratio(m):
        return m[:, 0, 0] * m[:, 1, 1] / (m[:, 0, 1] * m[:, 1, 0])

    np.testing.assert_allclose(ratio(many), ratio(matrix), rtol=1e-3)


def test_sinkhorn_by_hand():
    """The limit of [[9, 1], [1, 1]] keeps the ratio 9 of its diagonals: [[3, 1], [1, 3]] / 4."""
    found = sinkhorn(tf.math.log([[9.0, 1.0], [1.0, 1.0]]), 30)

    np.testing.assert_allclose(found, [[0.75, 0.25], [0.25, 0.75]], atol=1e-5)
    np.testing.assert_allclose(sinkhorn(tf.zeros([2, 2]), 0), np.full([2, 2], 0.5))
