"""The baselines by hand on a tiny log, and their known figures on MovieLens-1M."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from benchmarks.baselines import BaselineSettings
from benchmarks.baselines import baselines
from benchmarks.baselines import ease
from benchmarks.baselines import evaluate
from benchmarks.baselines import item_cosine
from benchmarks.baselines import popularity
from benchmarks.interactions import Interactions
from benchmarks.interactions import read_interactions
from benchmarks.movielens_1m_retrieval import BENCHMARK

SEQUENCES = [[0, 1, 2, 3], [0, 1, 3], [2, 1, 0, 4, 4]]


def interactions(sequences=SEQUENCES, items=5):
    starts = np.cumsum([0, *map(len, sequences)])
    names = np.array([f"movie:{i}" for i in range(items)])
    return Interactions(np.concatenate(sequences).astype(np.int64), starts, names)


def test_the_split():
    data = interactions()
    assert data.last().tolist() == [3, 3, 4]
    train = data.without_last(2)
    assert train.items.tolist() == [0, 1, 0, 2, 1, 0] and train.starts.tolist() == [0, 2, 3, 6]
    with pytest.raises(ValueError, match="user number 1"):
        data.without_last(3)


def test_recent_weights():
    weights = interactions([[0, 1, 2, 3], [4, 4, 1]]).matrix(newest=3, decay=0.5).toarray()
    assert weights.tolist() == [[0, 0.25, 0.5, 1, 0], [0, 1, 0, 0, 0.5]]


def test_cosine_and_ease_by_hand():
    data = interactions([[0, 1], [0], [1], [0, 1]], items=2)
    query = sparse.csr_matrix(np.eye(2, dtype=np.float32))
    assert item_cosine(data)(query) == pytest.approx(np.array([[1, 2 / 3], [2 / 3, 1]]))
    # X'X + I = [[4, 2], [2, 4]], so P = [[4, -2], [-2, 4]] / 12 and B01 = -P01 / P11 = .5
    assert ease(data, 1.0)(query) == pytest.approx(np.array([[0, 0.5], [0.5, 0]]))


def test_ease_is_the_formula_and_knows_the_most_frequent_items_alone():
    random = np.random.default_rng(0)
    data = interactions([random.permutation(8)[: 2 + i % 4].tolist() for i in range(60)], 8)
    x = data.matrix().toarray().astype(np.float64)
    query = sparse.csr_matrix(random.random((3, 8)).astype(np.float32))

    def weights(columns):
        inverse = np.linalg.inv(x[:, columns].T @ x[:, columns] + 5 * np.eye(len(columns)))
        return np.eye(len(columns)) - inverse / np.diag(inverse)

    every = np.arange(8)
    expected = query.toarray() @ weights(every)
    assert ease(data, 5.0)(query) == pytest.approx(expected, rel=1e-4)
    known = np.sort(np.argsort(-x.sum(axis=0), kind="stable")[:5])
    limited = ease(data, 5.0, most=5)(query)
    assert limited[:, known] == pytest.approx(query.toarray()[:, known] @ weights(known), rel=1e-4)
    assert not limited[:, np.setdiff1d(every, known)].any()


def test_popularity_counts_users():
    assert popularity(interactions())(sparse.csr_matrix((2, 5))).tolist() == [[3, 3, 2, 2, 1]] * 2


def test_ranks_exclude_what_was_seen_and_break_ties_by_item():
    history = interactions([[0], [1]], items=60)
    query = history.matrix()
    weights = np.zeros((60, 60), np.float32)
    weights[0, 5] = 1.0

    def scorer(query):
        return query @ weights

    found = evaluate(history, np.array([5, 12]), query, scorer)
    # User 0 finds item 5 first; for user 1 all are equal: item 12 is at place 11 (1 is excluded).
    assert found["hr@10"] == 0.5 and found["hr@50"] == 1.0
    assert found["mrr"] == pytest.approx((1 + 1 / 12) / 2)
    assert evaluate(history, np.array([0, 1]), query, scorer)["hr@100"] == 0.0
    found = evaluate(history, np.array([5, 12]), query, scorer, exclude_seen=False)
    assert found["mrr"] == pytest.approx((1 + 1 / 13) / 2)


def test_validation_looks_up_the_items_before_the_last():
    data = interactions([[0, 1, 2], [0, 1, 3], [0, 1, 2]], items=60)
    # Fitted on item 0 alone, everything else is equal: 1 is at place 0, 2 at 0 and 3 at 1.
    baseline = baselines(BaselineSettings())["popularity"]
    assert baseline.run(data, last=2)["mrr"] == 1.0
    assert baseline.run(data)["mrr"] == pytest.approx((1 + 1 / 2 + 1) / 3)


def test_short_sequences_are_trained_on_whole_and_not_asked():
    data = interactions([[0, 1, 2, 3], [5, 5, 6], [0, 4, 3, 1]], items=60)
    asked, others = data.divided(4)
    assert asked.starts.tolist() == [0, 4, 8] and asked.items.tolist() == [0, 1, 2, 3, 0, 4, 3, 1]
    train = asked.without_last(2).joined(others)
    assert train.items.tolist() == [0, 1, 0, 4, 5, 5, 6] and train.starts.tolist() == [0, 2, 4, 7]
    # Item 0 counts twice, 1, 4, 5 and 6 once: 3 comes behind 4, 5 and 6, and 1 first.
    baseline = baselines(BaselineSettings(least_items=4))["popularity"]
    assert baseline.run(data)["mrr"] == pytest.approx((1 / 4 + 1) / 2)


@pytest.mark.slow
def test_known_figures_on_movielens(data_file, tmp_path):
    from tfx_pipeline.datasets.movielens import prepare_movielens_1m

    archive = data_file("movielens-1m/ml-1m.zip")
    data_file("movielens-1m/sequences.txt.gz")
    prepare_movielens_1m(tmp_path / "log", archive.parent)
    assert BENCHMARK.result_name(tmp_path / "log") == "movielens_1m_retrieval"
    data = read_interactions(tmp_path / "log")
    known = {"popularity": (0.039, 0.146), "item_cosine_recent": (0.167, 0.343)}
    for name, (at_10, at_50) in known.items():
        found = baselines(BENCHMARK.settings)[name].run(data)
        assert found["hr@10"] == pytest.approx(at_10, abs=6e-4)
        assert found["hr@50"] == pytest.approx(at_50, abs=1e-3)
