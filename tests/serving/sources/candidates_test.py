from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from serving.sources.candidates import contains
from serving.sources.candidates import source_bits
from serving.sources.candidates import unite


def united(wanted, neighbours, weights, excluded, most):
    weights = np.array(weights, np.float32)
    weights = weights[..., None] if weights.ndim == 2 else weights
    rows, total = unite(
        [tf.constant(one, tf.int32) for one in wanted],
        tf.constant(neighbours, tf.int32),
        tf.constant(weights),
        tf.constant(excluded, tf.int32),
        most,
    )
    return rows.numpy(), total.numpy()


def by_row(rows, totals):
    return {int(r): float(t[0]) for r, t in zip(rows, totals, strict=True) if r >= 0}


def test_a_candidate_of_several_sources_comes_once_with_the_sum_of_its_weights():
    rows, total = united(
        [[[7, 3]], [[3, -1]]], [[3, 5, 5, 9]], [[0.5, 0.25, 0.25, 0.125]], [[-1]], 10
    )
    assert sorted(rows[rows >= 0]) == [3, 5, 7, 9]
    assert by_row(rows[0], total[0]) == {3: 0.5, 5: 0.5, 7: 0.0, 9: 0.125}


def test_what_is_excluded_is_in_no_source():
    rows, _ = united([[[7, 3]]], [[3, 5]], [[0.5, 0.5]], [[5, 7, -1, 11]], 10)
    assert sorted(rows[rows >= 0]) == [3]


def test_the_best_neighbours_are_kept_and_everything_of_the_other_sources():
    rows, _ = united([[[1]]], [[1, 2, 3, 4, 3]], [[0.1, 0.5, 0.3, 0.7, 0.3]], [[-1]], 2)
    # 1 is wanted, then 4 with 0.7 and 3 with 0.3 + 0.3 go before 2 with 0.5
    assert set(rows[0].tolist()) == {1, 3, 4}


def test_padding_of_lists_is_no_candidate():
    rows, _ = united([[[-1, -1]]], [[0, 0]], [[0.0, 0.0]], [[-1]], 5)
    assert (rows == -1).all()


def test_every_column_of_weights_is_summed():
    rows, total = united([[[4]]], [[4, 4]], [[[0.5, 0.0], [0.25, 1.0]]], [[-1]], 5)
    assert total[0][rows[0] == 4].tolist() == [[0.75, 1.0]]


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_the_union_of_sets(seed):
    rng = np.random.default_rng(seed)
    wanted, neighbours = rng.integers(-1, 30, (5, 12)), rng.integers(0, 30, (5, 40))
    weights = rng.integers(0, 4, (5, 40)) / 4.0
    excluded = rng.integers(-1, 30, (5, 6))
    rows, total = united([wanted], neighbours, weights, excluded, 40)
    for i in range(5):
        brought = {*wanted[i][wanted[i] >= 0], *neighbours[i][weights[i] > 0]} - {*excluded[i]}
        assert sorted(rows[i][rows[i] >= 0]) == sorted(brought)
        expected = {int(r): weights[i][neighbours[i] == r].sum() for r in brought}
        assert by_row(rows[i], total[i]) == pytest.approx(expected)


def test_bits_say_which_sources_brought_a_candidate():
    rows = tf.constant([[3, 5, -1]])
    tower, repeats = contains(rows, tf.constant([[3, 9]])), contains(rows, tf.constant([[5, 3]]))
    none = tf.zeros_like(tower)
    bits = source_bits([tower, none, repeats, none, none]).numpy()
    assert bits.tolist() == [[0b101, 0b100, 0]]
