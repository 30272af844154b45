"""Repeats of candidates in histories, against counting in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.layers.repeats import Found
from models.layers.repeats import Repeats
from models.layers.repeats import find_repeats


def counted(candidates: np.ndarray, events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of events of each candidate and the position of the newest, by loops."""
    number = np.zeros(candidates.shape, int)
    newest = np.full(candidates.shape, events.shape[1])
    for row, column in np.ndindex(candidates.shape):
        places = np.flatnonzero(events[row] == candidates[row, column])
        if candidates[row, column] and len(places):
            number[row, column], newest[row, column] = len(places), places[0]
    return number, newest


@pytest.mark.parametrize(("candidates", "events"), [(1, 1), (7, 30), (40, 5), (0, 4), (3, 0)])
def test_repeats_are_those_that_loops_count(candidates: int, events: int) -> None:
    random = np.random.default_rng(candidates)
    wanted = random.integers(0, 9, [6, candidates])  # several are the same, and some are none
    history = random.integers(0, 9, [6, events])
    found = find_repeats(tf.constant(wanted), tf.constant(history))
    number, newest = counted(wanted, history)
    np.testing.assert_array_equal(found.number, number)
    np.testing.assert_array_equal(found.newest, newest)


def test_a_candidate_without_repeats_is_zeros_whatever_else_is_known() -> None:
    layer = Repeats(4)
    found = Found(tf.constant([[0, 1, 2, 1]]), tf.constant([[3, 0, 0, 2]]))
    vectors = layer(found, tf.ones([1, 4, 4])).numpy()[0]
    assert not vectors[0].any()
    number, newest = layer.number.embeddings.numpy(), layer.newest.embeddings.numpy()
    np.testing.assert_allclose(vectors[1], number[1] + newest[0] + 1.0, rtol=1e-6)
    np.testing.assert_allclose(vectors[2], number[2] + newest[0] + 1.0, rtol=1e-6)  # log2(3)
    np.testing.assert_allclose(vectors[3], number[1] + newest[2] + 1.0, rtol=1e-6)
