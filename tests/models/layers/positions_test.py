"""Positions: distances, ages and turned vectors."""

import numpy as np

import models  # noqa: F401
from models.layers.positions import RelativePositionBias
from models.layers.positions import TimeBias
from models.layers.positions import rotate


def test_each_distance_has_its_bias():
    layer = RelativePositionBias(heads=1, length=3)
    layer(np.zeros([1, 3, 4], np.float32))
    layer.table.assign(np.arange(5.0, dtype=np.float32)[:, None])  # distances -2 .. 2
    bias = layer(np.zeros([1, 4, 4], np.float32)).numpy()

    expected = [[2, 1, 0, 0], [3, 2, 1, 0], [4, 3, 2, 1], [4, 4, 3, 2]]
    np.testing.assert_array_equal(bias, np.array(expected, np.float32)[None, None])


def test_time_bias_counts_from_the_query_s_request():
    layer = TimeBias(heads=2)
    ages, requests = np.array([[[15, 3]], [[3, 0]]]) * 1_000_000
    layer(ages, requests)
    table = np.arange(64.0, dtype=np.float32).reshape(32, 2)
    layer.table.assign(table)
    bias = layer(ages, requests).numpy()

    # Seconds passed, query by key: 12 and (3 - 3), 15 and 3; round(log2(1 + seconds)).
    buckets = np.array([[4, 0], [4, 2]])
    np.testing.assert_array_equal(bias[0], table[buckets].transpose(2, 0, 1))
    long_ago = 3 * 365 * 86_400_000_000
    np.testing.assert_array_equal(bias, layer(ages + long_ago, requests + long_ago))


def test_products_of_turned_vectors_depend_on_the_distance():
    rng = np.random.default_rng(0)
    query, key = rng.normal(size=[2, 6]).astype(np.float32)
    turned = [rotate(np.tile(vector, [5, 1])).numpy() for vector in (query, key)]
    products = turned[0] @ turned[1].T

    for shift in range(-4, 5):
        diagonal = np.diagonal(products, shift)
        np.testing.assert_allclose(diagonal, diagonal[0], atol=1e-5)
    assert abs(products[0, 0] - products[1, 0]) > 1e-3
    np.testing.assert_allclose(np.linalg.norm(turned[0], axis=1), np.linalg.norm(query), rtol=1e-5)


def test_the_first_place_is_not_turned():
    vector = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, 0.0]], np.float32)

    np.testing.assert_allclose(rotate(vector)[0], vector[0])
    np.testing.assert_allclose(rotate(vector)[1], [np.cos(1), 0, np.sin(1), 0], atol=1e-6)
