"""Validation timelines, described by hand instead of by a servable."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from serving.index.candidates import CandidateIds
from serving.sources import features as f
from serving.sources import fitting
from serving.sources.config import FitConfig
from serving.sources.examples import collect
from serving.sources.joined import Described
from tests.helpers.examples import example
from tests.helpers.examples import timeline
from tests.helpers.examples import write_examples
from transforms import features

IDS = [f"item:{i}" for i in range(4)]
POPULARITY = f.FEATURES.index(f.POPULARITY)
TOWER = f.FEATURES.index(f.TOWER)


def describe(serialised):
    """Three candidates and one of padding; the query of the user without a name is no number."""
    spec = {
        features.EVENT_ENTITY: tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int64),
        features.USER_ID: tf.io.FixedLenFeature([], tf.string, ""),
    }
    parsed = tf.io.parse_example(serialised, spec)
    length = parsed[features.EVENT_ENTITY].row_lengths()
    batch = len(length)
    found = np.zeros((batch, 4, len(f.FEATURES)), np.float32)
    found[:, :, POPULARITY] = [3.0, 2.0, 1.0, 9.0]
    found[:, :, TOWER] = [0.5, 1.0, -1.0, np.nan]
    found[parsed[features.USER_ID].numpy() == b"nan", :, TOWER] = np.nan
    rows = np.tile(np.array([2, 0, 1, -1], np.int32), (batch, 1))
    bits = np.tile(np.array([1, 8, 2, 0], np.int32), (batch, 1))
    return Described(tf.constant(rows), tf.constant(found), tf.constant(bits)), length


def collected(path, timelines, count=100, without=0):
    write_examples(path, {"validation": timelines})
    files = sorted(str(one) for one in path.rglob("*.gz"))
    return collect(describe, CandidateIds(IDS), files, count, without)


def test_targets_are_found_among_the_candidates(tmp_path):
    found = collected(
        tmp_path,
        [
            timeline("a", ["item:3"], targets=["item:0", "item:3", "gone:1"]),
            timeline("b", ["item:3"] * 12, targets=["item:1"]),
            timeline("c", [], targets=[]),  # nothing is held out: no example
        ],
    )
    assert found.target.tolist() == [[1, -1, -1], [2, -1, -1]]
    assert found.present.tolist() == [[True, True, True], [True, False, False]]
    assert found.real.tolist() == [[True, True, True, False]] * 2
    assert found.bucket.tolist() == [1, 3]
    assert len(set(found.user.tolist())) == 2
    assert np.isfinite(found.features).all()


def test_the_first_timelines_are_asked_again_without_history(tmp_path):
    rows = [timeline(f"u{i}", ["item:3"], targets=["item:0"] * (1 + i % 2)) for i in range(300)]
    found = collected(tmp_path, rows, count=200, without=50)
    assert len(found.user) == 250
    assert found.group.tolist() == [1] * 200 + [0] * 50
    assert found.user[200:].tolist() == found.user[:50].tolist()  # and in the same half
    assert found.target.shape == (250, 2)


def test_a_query_that_is_no_number_costs_the_others_nothing(tmp_path):
    rows = [timeline(f"u{i}", ["item:3"], targets=["item:0"]) for i in range(30)]
    alone = collected(tmp_path, rows)
    found = collected(tmp_path, [*rows, timeline("nan", ["item:3"], targets=["item:0"])])
    assert not found.real[30].any() and found.target[30].tolist() == [-1]
    weights = fitting.fit(found, FitConfig())
    np.testing.assert_allclose(weights, fitting.fit(alone, FitConfig()), rtol=1e-5)
    assert (weights[:, TOWER] > 0).all()
    scores = np.where(found.real, found.features[:, :, TOWER], -np.inf)
    assert fitting.ranks(found, scores)[30, 0] > 10_000  # the servable answers it with nothing


def test_a_split_without_targets_is_named(tmp_path):
    with pytest.raises(ValueError, match="hold events out"):
        collected(tmp_path, [timeline("a", ["item:3"]), example(**{features.USER_ID: "b"})])
