"""Metrics against their definitions: rows that are drawn twice are there twice."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import f1_score
from sklearn.metrics import ndcg_score
from sklearn.metrics import roc_auc_score

from tfx_pipeline.evaluation.embeddings import metrics

RNG = np.random.default_rng(3)
N = 60
UNIT = RNG.integers(0, 25, N)
WEIGHT = metrics.draws(UNIT, seed=1, samples=12)
DRAWN = [np.repeat(np.arange(N), row.astype(int)) for row in WEIGHT]  # rows of each sample
TIED = RNG.integers(0, 9, N).astype(float)  # scores, many of them equal


def test_units_are_drawn_whole_and_first_all_of_them_once():
    assert (WEIGHT[0] == 1).all()
    for row in WEIGHT[1:]:
        counts = [set(row[UNIT == unit]) for unit in np.unique(UNIT)]
        assert all(len(one) == 1 for one in counts)
        assert sum(one.pop() for one in counts) == len(counts)
    assert len(np.unique(WEIGHT, axis=0)) == 13


def test_auc():
    label = RNG.random(N) < 0.4
    expected = [roc_auc_score(label[rows], TIED[rows]) for rows in DRAWN]
    np.testing.assert_allclose(metrics.auc(label, TIED, WEIGHT), expected, atol=1e-9)
    untied = RNG.random(N)
    expected = [roc_auc_score(label[rows], untied[rows]) for rows in DRAWN]
    np.testing.assert_allclose(metrics.auc(label, untied, WEIGHT), expected, atol=1e-9)
    assert np.isnan(metrics.auc(np.ones(N, bool), TIED, WEIGHT)).all()


def test_spearman():
    truth = TIED + RNG.integers(0, 6, N)
    expected = [spearmanr(truth[rows], TIED[rows]).statistic for rows in DRAWN]
    np.testing.assert_allclose(metrics.spearman(truth, TIED, WEIGHT), expected, atol=1e-9)
    assert (metrics.spearman(truth, np.zeros(N), WEIGHT) == 0).all()


def test_macro_f1():
    label, predicted = RNG.integers(0, 4, N), RNG.integers(0, 5, N)
    expected = []
    for rows in DRAWN:
        classes = np.unique(label[rows])  # those that a sample has
        expected.append(f1_score(label[rows], predicted[rows], labels=classes, average="macro"))
    np.testing.assert_allclose(metrics.macro_f1(label, predicted, WEIGHT), expected, atol=1e-9)


def test_micro_f1():
    label, predicted = (RNG.random((2, N, 6)) < 0.3).astype(bool)
    expected = [f1_score(label[rows], predicted[rows], average="micro") for rows in DRAWN]
    np.testing.assert_allclose(metrics.micro_f1(label, predicted, WEIGHT), expected, atol=1e-9)


def test_ndcg():
    gain, score = RNG.random((2, N, 7))
    expected = [ndcg_score(gain[row : row + 1], score[row : row + 1]) for row in range(N)]
    np.testing.assert_allclose(metrics.ndcg(gain, score), expected, atol=1e-9)
    # One relevant column in the second place: 1 / log2(3).
    second = metrics.ndcg(np.array([[0.0, 2.0, 0.0]]), np.array([[0.9, 0.5, 0.1]]))
    assert second == pytest.approx(0.6309, abs=1e-4)
    assert metrics.ndcg(np.zeros((1, 3)), np.ones((1, 3))) == 0


def test_mean():
    expected = [TIED[rows].mean() for rows in DRAWN]
    np.testing.assert_allclose(metrics.mean(TIED, WEIGHT), expected, rtol=1e-9)
