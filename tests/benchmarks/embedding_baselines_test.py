"""Embeddings by factorisation and by counting, against dense computations."""

import numpy as np
import pytest

from benchmarks import embedding_baselines as module
from benchmarks import embeddings_movielens_1m as benchmark
from benchmarks.embedding_baselines import BASELINES
from benchmarks.results import Results
from tfx_pipeline.evaluation.embeddings.log import DividedLog
from tfx_pipeline.evaluation.embeddings.log import Events
from tfx_pipeline.evaluation.embeddings.suite import TASKS
from tfx_pipeline.evaluation.embeddings.suite import Suite
from tfx_pipeline.evaluation.embeddings.vectors import write_embeddings

USERS, ITEMS = 30, 9


@pytest.fixture(scope="module")
def log():
    rng = np.random.default_rng(0)
    user = np.sort(rng.integers(0, USERS, 260))
    item = rng.integers(0, ITEMS, 260)
    value = rng.integers(1, 6, 260).astype("f")
    later = Events(np.repeat(np.arange(USERS), 9), np.tile(np.arange(9), USERS), np.ones(270, "f"))
    return DividedLog(
        name="toy",
        users=np.array([f"u{i}" for i in range(USERS)], object),
        items=np.array([f"item:{i}" for i in range(ITEMS)], object),
        known=Events(user, item, value),
        later=later,
        shown=Events(*(np.empty(0, np.int64),) * 2, np.empty(0, "f")),
        attributes={},
        categories=np.eye(3, dtype=bool)[np.arange(9) % 3],
        hidden=frozenset(),
    )


@pytest.fixture(scope="module")
def dense(log):
    matrix = np.zeros((USERS, ITEMS))
    matrix[log.known.user, log.known.item] = 1
    return matrix


def products(embeddings):
    return embeddings.users.vectors[:, 0] @ embeddings.items.vectors[:, 0].T


def truncated(matrix, rank=ITEMS - 1):
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    return left[:, :rank] * values[:rank] @ right[:rank]


@pytest.mark.parametrize("name", list(BASELINES))
def test_every_user_and_item_has_a_finite_embedding_of_one_space(log, name, monkeypatch):
    monkeypatch.setattr(module, "SHIFT", 0.1)  # counts of a small log are even
    found = BASELINES[name](log, 0)
    assert found.users.vectors.shape[::2] == (USERS, found.items.vectors.shape[2])
    assert found.items.vectors.shape[:2] == (ITEMS, 1)
    for one in (found.users, found.items):
        assert np.isfinite(one.vectors).all() and (one.vectors.std() > 0 or name == "constant")
    again = BASELINES[name](log, 0)
    np.testing.assert_array_equal(found.users.vectors, again.users.vectors)


def test_matrix_factorisation_is_the_best_of_its_rank(log, dense):
    found = products(module.matrix_factorisation(log, 0))
    np.testing.assert_allclose(found, truncated(dense), atol=1e-3)


def test_neighbours_sum_the_cosines_to_a_users_items(log, dense):
    length = np.linalg.norm(dense, axis=0)
    cosine = dense.T @ dense / np.outer(length, length)
    np.fill_diagonal(cosine, 0)
    found = products(module.neighbours(log, 0))
    np.testing.assert_allclose(found, dense @ truncated(cosine), atol=1e-3)


def test_item2vec_is_the_shifted_positive_pmi(log, monkeypatch):
    monkeypatch.setattr(module, "SHIFT", 0.1)
    together = np.zeros((ITEMS, ITEMS))
    user, item = log.known.user, log.known.item
    for i in range(len(user)):
        for j in range(i + 1, min(i + module.WINDOW + 1, len(user))):
            if user[i] == user[j] and item[i] != item[j]:
                together[item[i], item[j]] += 1
                together[item[j], item[i]] += 1
    margin = together.sum(axis=0)
    with np.errstate(divide="ignore"):
        pmi = np.log(together * together.sum() / np.outer(margin, margin))
    positive = np.maximum(pmi - module.SHIFT, 0)
    assert positive.any()
    first = np.array([len(set(item[user == u][-module.NEWEST :])) for u in range(USERS)])
    newest = np.zeros((USERS, ITEMS))
    for u in range(USERS):
        newest[u, item[user == u][-module.NEWEST :]] = 1
    wanted = newest @ truncated(positive).T / np.maximum(first, 1)[:, None]
    np.testing.assert_allclose(products(module.item2vec(log, 0)), wanted, atol=1e-3)


def test_propagation_is_lightgcns_mean_of_layers(log, dense):
    degrees = [np.maximum(dense.sum(axis=axis), 1) ** -0.5 for axis in (1, 0)]
    scaled = degrees[0][:, None] * dense * degrees[1]
    square = np.zeros((USERS + ITEMS,) * 2)
    square[:USERS, USERS:], square[USERS:, :USERS] = scaled, scaled.T
    left, values, right = np.linalg.svd(scaled, full_matrices=False)
    rank = ITEMS - 1
    root = np.sqrt(values[:rank])
    start = np.concatenate([left[:, :rank] * root, right[:rank].T * root])
    layers = [start, square @ start, square @ square @ start]
    mean = np.mean(layers, axis=0)
    found = products(module.propagation(log, 0))
    np.testing.assert_allclose(found, mean[:USERS] @ mean[USERS:].T, atol=1e-3)


def test_counts_are_those_of_one_user(log):
    mine = log.known.user == 3
    popularity = np.bincount(log.known.item, minlength=ITEMS)
    rank = np.argsort(np.argsort(popularity, kind="stable"))
    shares = np.bincount(rank[log.known.item[mine]] * 10 // ITEMS, minlength=10) / mine.sum()
    value = log.known.value[mine]
    wanted = [np.log1p(mine.sum()), value.mean(), value.std(), *shares]
    np.testing.assert_allclose(module.counts(log, 0).users.vectors[3, 0], wanted, rtol=1e-5)


def test_a_finished_run_is_kept_and_an_export_replaces_its_own(log, tmp_path):
    tasks = [task for task in TASKS if task.name == "next_item"]
    suite = Suite(log, tasks)
    results = Results("toy", "none", directory=tmp_path)
    benchmark.measure(results, lambda: suite, "random", 0)
    row = results.rows()[0]
    assert row["embedding"] == "random" and {"score", "next_item", "recall@50"} <= row.keys()
    again = Results("toy", "none", directory=tmp_path)
    benchmark.measure(again, lambda: pytest.fail("measured again"), "random", 0)
    write_embeddings(module.random(log, 1), tmp_path / "mine")
    for _ in range(2):
        benchmark.measure_export(again, lambda: suite, "mine", tmp_path / "mine", 0)
    assert [run.key["embedding"] for run in again.runs] == ["random", "mine"]


def test_the_control_exchanges_users_and_leaves_items(log):
    made = BASELINES["matrix_factorisation"](log, 0)
    other = benchmark.exchange_users(made, 0)
    assert sorted(other.users.keys) == sorted(made.users.keys)
    assert np.mean(other.users.keys == made.users.keys) < 0.2
    assert other.users.vectors is made.users.vectors and other.items is made.items
