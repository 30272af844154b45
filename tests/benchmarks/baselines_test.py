"""The baselines by hand on a tiny log, and their known figures on MovieLens-1M."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import movielens_1m_retrieval
from benchmarks.baselines import baselines
from benchmarks.baselines import ease
from benchmarks.baselines import evaluate
from benchmarks.baselines import item_cosine
from benchmarks.interactions import Interactions
from benchmarks.interactions import read_interactions
from benchmarks.results import Results

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
    assert item_cosine(data)[0, 1] == pytest.approx(2 / 3)
    # X'X + I = [[4, 2], [2, 4]], so P = [[4, -2], [-2, 4]] / 12 and B01 = -P01 / P11 = .5
    assert ease(data, 1.0) == pytest.approx(np.array([[0, 0.5], [0.5, 0]]))


def test_ranks_exclude_what_was_seen_and_break_ties_by_item():
    history = interactions([[0], [1]], items=60)
    query = history.matrix()
    weights = np.zeros((60, 60), np.float32)
    weights[0, 5] = 1.0
    found = evaluate(history, np.array([5, 12]), query, weights)
    # User 0 finds item 5 first; for user 1 all are equal: item 12 is at place 11 (1 is excluded).
    assert found["hr@10"] == 0.5 and found["hr@50"] == 1.0
    assert found["mrr"] == pytest.approx((1 + 1 / 12) / 2)
    assert evaluate(history, np.array([0, 1]), query, weights)["hr@100"] == 0.0


@pytest.mark.slow
def test_known_figures_on_movielens(data_file, tmp_path):
    from tfx_pipeline.datasets.movielens import prepare_movielens_1m

    archive = data_file("movielens-1m/ml-1m.zip")
    data_file("movielens-1m/sequences.txt.gz")
    prepare_movielens_1m(tmp_path / "log", archive.parent)
    assert movielens_1m_retrieval.result_name(tmp_path / "log") == "movielens_1m_retrieval"
    data = read_interactions(tmp_path / "log")
    known = {"popularity": (0.039, 0.146), "item_cosine_recent": (0.167, 0.343)}
    for name, (at_10, at_50) in known.items():
        found = baselines()[name](data)
        assert found["hr@10"] == pytest.approx(at_10, abs=6e-4)
        assert found["hr@50"] == pytest.approx(at_50, abs=1e-3)


def test_the_benchmark_resumes(tmp_path, monkeypatch):
    results = Results("some", "python -m benchmarks.some", directory=tmp_path)
    log = tmp_path / "log"
    monkeypatch.setattr(
        movielens_1m_retrieval, "read_interactions", lambda _: interactions([[0, 1, 2]] * 3, 60)
    )
    movielens_1m_retrieval.run_baselines(results, log)
    assert [row["model"] for row in results.rows()] == list(baselines())
    monkeypatch.delattr(movielens_1m_retrieval, "read_interactions")
    again = Results("some", "python -m benchmarks.some", directory=tmp_path)
    movielens_1m_retrieval.run_baselines(again, log)  # nothing is read, for nothing is missing
    assert again.runs == results.runs
