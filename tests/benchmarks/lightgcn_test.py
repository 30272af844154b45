"""LightGCN against NumPy."""

import numpy as np
import pytest
from scipy import sparse

import models  # noqa: F401  (chooses Keras 2)
from benchmarks.lightgcn import LightGCN
from benchmarks.two_kinds import TwoKinds

RNG = np.random.default_rng(4)


def random_edges(rows, columns, share):
    return sparse.csr_matrix((RNG.random([rows, columns]) < share).astype(np.float32))


DATA = TwoKinds(random_edges(30, 12, 0.3), random_edges(30, 20, 0.2))


def make(layers):
    return LightGCN(DATA, 8, layers, 0.1, 0.02, batch_size=16, seed=1)


@pytest.mark.parametrize("layers", [0, 2])
def test_scores_equal_numpy(layers):
    graph = np.zeros([62, 62])
    graph[:30, 30:] = np.concatenate([DATA.candidates.toarray(), DATA.others.toarray()], axis=1)
    graph += graph.T
    root = np.maximum(graph.sum(axis=1), 1) ** -0.5
    graph = root[:, None] * graph * root
    model = make(layers)
    start = model.table.numpy()
    mean = sum(np.linalg.matrix_power(graph, layer) @ start for layer in range(layers + 1))
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)

    users = np.array([3, 0, 29])
    found = model.scorer()(users)
    np.testing.assert_allclose(found, mean[users] @ mean[30:42].T, atol=1e-5)


def test_it_learns_from_edges():
    model = make(2)
    first, *_, last = [model.train_epoch() for _ in range(6)]

    assert last < first
    scores = model.scorer()(np.arange(30))
    held = DATA.candidates.toarray() > 0
    assert scores[held].mean() > scores[~held].mean()
