"""Tests of what the benchmarks of GMN share."""

import numpy as np
import pytest
from scipy import sparse

import models  # noqa: F401
from benchmarks import gmn_youshu
from benchmarks.gmn import make_towers
from benchmarks.gmn_amazon import hold_out
from benchmarks.two_kinds import TwoKinds
from benchmarks.two_kinds import measure
from benchmarks.two_kinds_counted import ease
from benchmarks.two_kinds_counted import neighbours
from benchmarks.two_kinds_counted import popularity
from benchmarks.two_kinds_towers import Towers
from models.input import batch as b
from tfx_pipeline.datasets.registry import prepare

RNG = np.random.default_rng(4)


def random_edges(rows, columns, share):
    return sparse.csr_matrix((RNG.random([rows, columns]) < share).astype(np.float32))


DATA = TwoKinds(random_edges(30, 12, 0.3), random_edges(30, 20, 0.2), random_edges(12, 20, 0.2))
EVERYBODY = np.arange(30)


def test_measured_by_hand():
    scores = np.array([[9, 8, 7, 6, 5], [1, 2, 3, 4, 5], [1, 1, 1, 1, 1]], np.float32)
    seen = sparse.csr_matrix([[1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0] * 5])
    held_out = sparse.csr_matrix([[0, 0, 1, 0, 1], [0, 0, 0, 0, 1], [0] * 5])
    found = measure(lambda users: scores[users], seen, held_out, k=2)

    # The first user's list is 1, 2: a hit at the second of two places. The last is not asked.
    second = 1 / np.log2(3)
    assert found["recall@2"] == pytest.approx((0.5 + 1.0) / 2)
    assert found["ndcg@2"] == pytest.approx((second / (1 + second) + 1.0) / 2)
    assert found["hr@2"] == 1.0
    # Of the first user's negatives, 1 and 3, one is above the one held out and both the other.
    assert found["auc"] == pytest.approx((0.25 + 1.0) / 2)
    few = measure(lambda users: scores[users], seen, held_out, k=2, few=0)
    assert few["few_recall@2"] == 1.0


def test_the_area_counts_ties_as_half():
    held_out = sparse.csr_matrix([[0.0, 1, 0, 0, 0]])
    scores = np.array([[1, 2, 2, 3, 1]], np.float32)
    found = measure(lambda users: scores[users], sparse.csr_matrix((1, 5)), held_out, k=2)

    # Above two, beside one, below one of four; the earlier one of equals is second in the list.
    assert found["auc"] == pytest.approx((2 + 0.5) / 4)
    assert found["hr@2"] == 1.0


def test_held_out_edges_are_one_of_every_third_user():
    edges = random_edges(30, 12, 0.3)
    rest, taken = hold_out(edges)

    np.testing.assert_array_equal((rest + taken).toarray(), edges.toarray())
    np.testing.assert_array_equal(np.diff(taken.indptr), np.arange(30) % 3 == 0)


def test_timed_windows_hold_what_came_before_newest_first():
    candidates = sparse.csr_matrix([[1.0, 1, 1]])
    others = sparse.csr_matrix([[1.0, 1]])
    seconds = sparse.csr_matrix([[10.0, 30, 50, 20, 40]])
    data = TwoKinds(candidates, others, seconds=seconds, now=60.0)
    config = gmn_youshu.BENCHMARK.config("two_tower", 1, {"model.dim": 4, "model.query.window": 4})
    towers = Towers(data, config)
    before = towers.windows(np.array([0]), np.array([2]))
    asked = towers.windows(np.array([0]))

    np.testing.assert_array_equal(before[b.HISTORY_ENTITY], [[4, 1, 0, 0]])
    np.testing.assert_array_equal(before[b.HISTORY_AGE], [[10_000_000, 20_000_000, 0, 0]])
    np.testing.assert_array_equal(asked[b.HISTORY_ENTITY], [[3, 5, 2, 4]])
    np.testing.assert_array_equal(asked[b.HISTORY_TYPE], [[1, 2, 1, 2]])


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_ease_equals_its_definition(weight):
    own, others = DATA.candidates.toarray(), weight * DATA.others.toarray()
    both = np.concatenate([own, others], axis=1) if weight else own
    inverse = np.linalg.inv(both.T @ both + 3.0 * np.eye(both.shape[1]))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    found = ease(DATA, 3.0, weight)(EVERYBODY)

    np.testing.assert_allclose(found, (both @ weights)[:, :12], atol=1e-4)


def test_neighbours_are_the_users_that_are_most_alike():
    candidates = sparse.csr_matrix(
        [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 1], [0, 0, 0, 1]], dtype=float
    )
    data = TwoKinds(candidates, sparse.csr_matrix((4, 1)))
    cosine = 2 / np.sqrt(6)

    found = neighbours(data, 1)(np.array([0]))
    np.testing.assert_allclose(found, [[cosine, cosine, cosine, 0]], rtol=1e-6)


@pytest.mark.parametrize("row", ["two_tower", "gmn_several", "comirec"])
def test_towers_learn_from_edges(row):
    small = {"model.dim": 8, "model.query.window": 12, "model.query.hidden_units": [8]}
    if row != "two_tower":
        small |= {"model.query.neighbours": 6, "model.query.training_neighbours": 4}
    config = gmn_youshu.BENCHMARK.config(row, 1, small | {"input.batch_size": 32})
    towers = make_towers(DATA, row, config)
    first, *_, last = [towers.train_epoch() for _ in range(6)]

    assert last < first
    scores = towers.scorer()(EVERYBODY)
    assert scores.shape == (30, 12) and np.isfinite(scores).all()


def test_windows_hold_all_but_the_target():
    config = gmn_youshu.BENCHMARK.config("gmn", 1, {"model.dim": 8, "model.query.window": 50})
    towers = Towers(DATA, config)
    users = np.repeat(EVERYBODY, np.diff(DATA.candidates.indptr))
    targets = 1 + DATA.candidates.indices
    windows = towers.windows(users, targets)

    for row, (user, target) in enumerate(zip(users, targets, strict=True)):
        own = {1 + c for c in DATA.candidates[user].indices}
        other = {13 + c for c in DATA.others[user].indices}
        length = windows[b.HISTORY_LENGTH][row]
        entity, kind = windows[b.HISTORY_ENTITY][row], windows[b.HISTORY_TYPE][row]
        assert set(entity[:length]) == own - {target} | other and length == len(own | other) - 1
        assert not entity[length:].any()
        np.testing.assert_array_equal(kind, np.where(entity == 0, 0, 1 + (entity > 12)))


def test_shuffled_others_are_those_of_other_users():
    shuffled = DATA.with_shuffled_others(1)

    assert shuffled.candidates is DATA.candidates and shuffled.shows is DATA.shows
    rows = sorted(map(tuple, DATA.others.toarray()))
    assert sorted(map(tuple, shuffled.others.toarray())) == rows
    assert (shuffled.others != DATA.others).nnz > 0


def test_the_given_split_of_youshu_is_read_off_the_log(data_file, tmp_path):
    prepare("youshu", tmp_path / "log", data_file("youshu/user_item.txt.gz").parent)
    task = gmn_youshu.read(tmp_path / "log", "bundle")
    data, held_out = task.data, task.held_out

    assert (data.candidates.nnz, data.others.nnz, data.shows.nnz) == (34_416, 138_515, 176_667)
    assert {part: edges.nnz for part, edges in held_out.items()} == {"tune": 5_189, "test": 9_746}
    assert data.candidates.multiply(held_out["test"]).nnz == 0
    found = measure(popularity(data), data.candidates, held_out["tune"])
    assert found["recall@20"] == pytest.approx(0.2021, abs=1e-4)
    assert found["ndcg@20"] == pytest.approx(0.0950, abs=1e-4)
