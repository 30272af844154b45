from __future__ import annotations

import pytest
import tensorflow as tf

from serving.index.candidates import CandidateIds


@pytest.fixture(scope="module")
def ids():
    return [f"item:{i}" for i in range(5_000)] + ["video:3", "film:Amélie\nII"]


def test_rows_and_names_are_inverse(ids):
    candidates = CandidateIds(ids)
    rows = candidates.rows(tf.constant(ids))
    assert rows.numpy().tolist() == list(range(len(ids)))
    assert [name.decode() for name in candidates.names(rows).numpy()] == ids


def test_others_have_no_row_and_no_name(ids):
    candidates = CandidateIds(ids)
    rows = candidates.rows(tf.constant([["item:5000", ""], ["video:30", "item:7"]]))
    assert rows.numpy().tolist() == [[-1, -1], [-1, 7]]
    assert candidates.names(tf.constant([[-1, 0]])).numpy().tolist() == [[b"", b"item:0"]]


def test_nothing_to_look_up(ids):
    assert CandidateIds(ids).rows(tf.zeros([3, 0], tf.string)).shape == [3, 0]


@pytest.mark.parametrize(("names", "match"), [([], "no candidates"), (["a", "a"], "twice")])
def test_refused(names, match):
    with pytest.raises(ValueError, match=match):
        CandidateIds(names)
