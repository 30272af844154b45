import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401
from models.layers.mixture import Interests
from models.layers.mixture import Mixture
from models.layers.mixture import SoftBest
from models.layers.mixture import score_items
from serving.index.searching.exact import ExactIndex

RNG = np.random.default_rng(0)
ITEMS = RNG.normal(size=[40, 6]).astype(np.float32)
VECTORS = RNG.normal(size=[5, 3, 6]).astype(np.float32)
WEIGHT = RNG.dirichlet(np.ones(3), size=5).astype(np.float32)
MIXTURE = Mixture(tf.constant(VECTORS), tf.constant(np.log(WEIGHT)))


def oracle():
    """Scores [5, 40] of the mixture, item by item."""
    return np.log(
        [[w @ np.exp(u @ v) for v in ITEMS] for u, w in zip(VECTORS, WEIGHT, strict=True)]
    )


def test_a_mixture_scores_by_its_formula():
    np.testing.assert_allclose(score_items(MIXTURE, tf.constant(ITEMS)), oracle(), atol=1e-5)


def test_what_is_served_has_the_scores_that_training_has():
    rows, scores = ExactIndex(ITEMS, 40).search(
        MIXTURE.vectors,
        tf.fill([5, 0], -1),
        tf.zeros([5], tf.int64),
        tf.exp(MIXTURE.log_weight),
    )

    trained = score_items(MIXTURE, tf.constant(ITEMS))
    np.testing.assert_allclose(tf.gather(trained, rows, batch_dims=1), scores, atol=1e-5)
    np.testing.assert_array_equal(rows, np.argsort(-trained.numpy(), axis=1))


def test_of_soft_best_interests_the_better_counts_the_more():
    products = np.einsum("pkd,nd->pkn", VECTORS, ITEMS)
    share = np.exp(products) / np.exp(products).sum(axis=1, keepdims=True)
    found = score_items(SoftBest(tf.constant(VECTORS)), tf.constant(ITEMS))
    np.testing.assert_allclose(found, (share * products).sum(axis=1), atol=1e-5)

    long = score_items(SoftBest(tf.constant(VECTORS * 1e3)), tf.constant(ITEMS)) / 1e3
    np.testing.assert_allclose(long, products.max(axis=1), atol=1e-2)


def test_interests_by_hand():
    layer = Interests(2)
    layer(tf.zeros([1, 2]))
    project, weigh, bias = layer.get_weights()
    assert project.shape == (2, 4)
    layer.set_weights([np.float32([[1, 2, 3, 4], [5, 6, 7, 8]]), np.eye(2), np.float32([0, 1])])

    mixture = layer(tf.constant([[1.0, -1.0]]))
    np.testing.assert_allclose(mixture.vectors, [[[1 - 4, -1 - 4], [1 - 4, -1 - 4]]])
    assert mixture.log_weight.numpy()[0] == pytest.approx(
        [1 - np.log(np.e + 1), 0 - np.log(np.e + 1)], abs=1e-6
    )


def test_interests_start_apart():
    vectors = Interests(3)(tf.ones([1, 8])).vectors.numpy()[0]

    assert np.abs(vectors[0] - vectors[1]).max() > 0.1 < np.abs(vectors[1] - vectors[2]).max()
