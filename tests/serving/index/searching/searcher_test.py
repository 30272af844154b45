"""Both search backends against a plain NumPy answer."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from serving.index.searching.exact import ExactIndex
from serving.index.searching.portable import PortableIndex
from serving.index.searching.portable import best_leaves
from serving.index.searching.portable import lay_out
from serving.index.searching.searcher import Searcher
from serving.index.searching.searcher import merge_interests
from serving.index.tree.scann_files import Partition

N, D, LEAVES = 500, 8, 12
RNG = np.random.default_rng(7)
VECTORS = RNG.normal(size=(N, D)).astype(np.float32)
CENTRES = RNG.normal(size=(LEAVES, D)).astype(np.float32)
LEAF = (((VECTORS[:, None] - CENTRES[None]) ** 2).sum(-1)).argmin(1).astype(np.int32)
PARTITION = Partition(CENTRES, LEAF)
QUERIES = RNG.normal(size=(5, D)).astype(np.float32)
INTERESTS = RNG.normal(size=(5, 3, D)).astype(np.float32)
TIMES = np.where(np.arange(N) % 3 == 0, 1_000, np.iinfo(np.int64).min)


def make(
    backend: str, k: int = 20, times: np.ndarray | None = None, leaves: int = LEAVES
) -> Searcher:
    if backend == "exact":
        return ExactIndex(VECTORS, k, times)
    return PortableIndex(VECTORS, PARTITION, leaves, k, times)


def ask(searcher, queries=QUERIES, excluded=None, times=None, weight=None):
    batch = len(queries)
    excluded = np.zeros((batch, 0)) if excluded is None else excluded
    times = np.zeros(batch) if times is None else times
    search = tf.function(searcher.search)
    rows, scores = search(
        tf.constant(queries),
        tf.constant(excluded, tf.int32),
        tf.constant(times, tf.int64),
        None if weight is None else tf.constant(weight, tf.float32),
    )
    return rows.numpy(), scores.numpy()


def expected(queries, k, hidden, weight=None):
    """Rows and scores by NumPy; `hidden` [B, N] must not be found."""
    scores = queries @ VECTORS.T
    if weight is not None:
        scores = np.log((np.exp(scores) * weight[:, :, None]).sum(1))
    scores = scores.max(1) if scores.ndim == 3 else scores
    scores = np.where(hidden, -np.inf, scores)
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(scores, rows, 1)
    return np.where(np.isinf(scores), -1, rows), scores


def agree(found, wanted):
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-5, atol=1e-6)


BOTH = pytest.mark.parametrize("backend", ["exact", "portable"])


@BOTH
@pytest.mark.parametrize("queries", [QUERIES, INTERESTS], ids=["vector", "interests"])
def test_the_best_candidates(backend, queries):
    agree(ask(make(backend), queries), expected(queries, 20, np.zeros((5, N), bool)))


@BOTH
@pytest.mark.parametrize("queries", [QUERIES, INTERESTS], ids=["vector", "interests"])
def test_excluded_rows_never_come_back_and_k_results_do(backend, queries):
    best, _ = expected(queries, 60, np.zeros((5, N), bool))
    excluded = np.full((5, 64), -1)
    excluded[:, 2:62] = best  # with padding on both sides
    hidden = np.zeros((5, N), bool)
    np.put_along_axis(hidden, best, True, 1)
    agree(ask(make(backend), queries, excluded), expected(queries, 20, hidden))


@BOTH
@pytest.mark.parametrize("queries", [QUERIES, INTERESTS], ids=["vector", "interests"])
@pytest.mark.parametrize("mixed", [False, True])
def test_given_candidates_get_the_scores_that_a_search_gives_them(backend, queries, mixed):
    weight = np.full((5, 3), 1 / 3, np.float32) if mixed and queries.ndim == 3 else None
    searcher = make(backend, N)
    rows, scores = ask(searcher, queries, weight=weight)
    shuffled = np.array(rows[:, ::-7])
    mixture = None if weight is None else tf.constant(weight)
    found = tf.function(searcher.score)(tf.constant(queries), tf.constant(shuffled), mixture)
    np.testing.assert_allclose(found, scores[:, ::-7], rtol=1e-4, atol=1e-5)


@BOTH
def test_a_mixture_of_interests_with_excluded_rows(backend):
    weight = np.array([[0.7, 0.2, 0.1]] * 4 + [[0.0, 1.0, 0.0]], np.float32)
    hidden = np.zeros((5, N), bool)
    excluded, _ = expected(INTERESTS, 3, hidden, weight)
    np.put_along_axis(hidden, excluded, True, 1)
    # Nearly everything is found by some interest, so that the backends cannot differ.
    found = ask(make(backend, k=450), INTERESTS, excluded, weight=weight)
    wanted = expected(INTERESTS, 450, hidden, weight)
    agree(tuple(part[:, :20] for part in found), tuple(part[:, :20] for part in wanted))


@BOTH
def test_a_mixture_finds_what_no_interest_has_first(backend):
    searcher = ExactIndex if backend == "exact" else None
    vectors = np.array([[3.0, 0.0], [0.0, 3.0], [2.9, 2.9], [0.0, 0.0]], np.float32)
    if searcher is None:
        partition = Partition(np.eye(2, dtype=np.float32), np.array([0, 1, 0, 1], np.int32))
        index = PortableIndex(vectors, partition, 2, 2)
    else:
        index = searcher(vectors, 2)
    interests = np.array([[[1.0, 0.0], [0.0, 1.0]]], np.float32)
    assert ask(index, interests)[0].tolist() == [[0, 1]]
    rows, scores = ask(index, interests, weight=np.array([[0.5, 0.5]]))
    assert rows[0, 0] == 2
    np.testing.assert_allclose(scores[0, 0], 2.9, rtol=1e-6)


@BOTH
def test_a_weight_that_is_none_finds_nothing(backend):
    weight = np.array([[0.5, 0.5, np.nan], [1.2, -0.2, 0.0], [0.2, 0.3, 0.5]] + [[1, 1, 1]] * 2)
    rows, _ = ask(make(backend), INTERESTS, weight=weight)
    assert (rows[:2] == -1).all() and (rows[2:] >= 0).all()


@BOTH
def test_a_row_excluded_many_times(backend):
    best, _ = expected(QUERIES, 1, np.zeros((5, N), bool))
    hidden = np.zeros((5, N), bool)
    np.put_along_axis(hidden, best, True, 1)
    agree(ask(make(backend), excluded=np.repeat(best, 9, axis=1)), expected(QUERIES, 20, hidden))


@BOTH
def test_candidates_are_hidden_until_they_are_available(backend):
    times = np.array([0, 1, 999, 1_000, 1_001])
    hidden = (TIMES[None] > times[:, None]) & (times[:, None] > 0)
    assert hidden.any(axis=1).tolist() == [False, True, True, False, False]
    agree(ask(make(backend, times=TIMES), times=times), expected(QUERIES, 20, hidden))


@BOTH
def test_the_tail_is_empty_when_fewer_exist(backend):
    searcher = make(backend, k=N + 30)
    excluded = np.tile(np.arange(10), (5, 1))
    rows, scores = ask(searcher, excluded=excluded)
    assert rows.shape == scores.shape == (5, N + 30)
    assert (rows[:, N - 10 :] == -1).all() and (scores[:, N - 10 :] == -np.inf).all()
    for row in rows[:, : N - 10]:
        assert sorted(row) == list(range(10, N))
    assert np.isfinite(scores[:, : N - 10]).all()


@BOTH
def test_everything_excluded(backend):
    rows, scores = ask(make(backend), excluded=np.tile(np.arange(N), (5, 1)))
    assert (rows == -1).all() and (scores == -np.inf).all()


@BOTH
def test_a_broken_query_finds_nothing_and_spoils_no_other(backend):
    queries = QUERIES.copy()
    queries[2, 3] = np.nan
    queries[4, 0] = np.inf
    rows, scores = ask(make(backend), queries)
    whole = [0, 1, 3]
    rest = expected(QUERIES[whole], 20, np.zeros((3, N), bool))
    agree((rows[whole], scores[whole]), rest)
    assert (rows[[2, 4]] == -1).all() and (scores[[2, 4]] == -np.inf).all()


@BOTH
def test_batches_are_cut_and_joined(backend):
    searcher = make(backend)
    searcher._budget = 2 * searcher._cells  # two queries at a time
    agree(ask(searcher), expected(QUERIES, 20, np.zeros((5, N), bool)))
    rows, scores = ask(searcher, QUERIES[:0])
    assert rows.shape == scores.shape == (0, 20)


@BOTH
def test_xla_compiles_a_chunk(backend):
    searcher = make(backend, times=TIMES)
    compiled = tf.function(searcher.search_chunk, jit_compile=True)
    inputs = (
        tf.constant(QUERIES),
        tf.constant([[0, -1]] * 5, tf.int32),
        tf.constant([5] * 5, tf.int64),
    )
    rows, scores = compiled(*inputs)
    plain_rows, plain_scores = searcher.search_chunk(*inputs)
    np.testing.assert_array_equal(rows, plain_rows)
    np.testing.assert_allclose(scores, plain_scores, rtol=1e-5)


@BOTH
def test_k_has_to_be_positive(backend):
    with pytest.raises(ValueError, match="at least 1"):
        make(backend, k=0)


@pytest.mark.parametrize("leaves", [1, 3, 6])
def test_a_few_leaves_are_searched_exactly_and_no_fewer_than_asked(leaves):
    searcher = make("portable", k=5, leaves=leaves)
    assert searcher.layout.probes < len(searcher.layout.leaf)
    queries = VECTORS[::25]
    rows, scores = ask(searcher, queries)
    order = np.argsort(-(queries @ CENTRES.T), axis=1)
    for query in range(len(queries)):
        inside = np.flatnonzero(np.isin(LEAF, order[query, :leaves]))
        by_score = inside[np.argsort(-(VECTORS[inside] @ queries[query]))]
        best_inside = VECTORS[by_score[:5]] @ queries[query]
        # At least as good as exact search over the asked leaves, rank by rank.
        assert (scores[query, : len(best_inside)] >= best_inside - 1e-5).all()
        np.testing.assert_allclose(scores[query], VECTORS[rows[query]] @ queries[query], rtol=1e-5)


def test_so_many_leaves_are_searched_that_they_hold_twice_the_results():
    k, leaves = 100, 5  # 5 of 12 leaves hold 208 of 500 candidates in the mean; one holds 42
    searcher = make("portable", k=k, leaves=1)
    queries = VECTORS[::25]
    _, scores = ask(searcher, queries)
    order = np.argsort(-(queries @ CENTRES.T), axis=1)[:, :leaves]
    for query, found, nearest in zip(queries, scores, order, strict=True):
        inside = np.sort(VECTORS[np.isin(LEAF, nearest)] @ query)[::-1][:k]
        assert (found[: len(inside)] >= inside - 1e-5).all()


def test_all_candidates_are_searched_where_the_leaves_hold_too_few():
    searcher = make("portable", k=5, leaves=1)
    near = np.argsort(-(QUERIES[0] @ CENTRES.T))[:2]
    excluded = np.flatnonzero(np.isin(LEAF, near))
    hidden = np.zeros((1, N), bool)
    hidden[0, excluded] = True
    assert searcher.layout.probes * searcher.layout.slots < N
    rows, scores = ask(searcher, QUERIES[:1], excluded[None])
    assert not set(rows[0]) & set(excluded)
    assert (rows >= 0).all() and np.isfinite(scores).all()
    outside = np.concatenate([np.flatnonzero(LEAF == leaf) for leaf in range(LEAVES)])
    fallback = ask(searcher, QUERIES[:1], np.setdiff1d(outside, [3, 4, 5])[None])
    assert sorted(fallback[0][0]) == [-1, -1, 3, 4, 5]


@pytest.mark.parametrize("leaves_to_search", [1, 4, 12])
def test_every_candidate_has_one_slot_in_a_block_of_its_leaf(leaves_to_search):
    searched = best_leaves(VECTORS, CENTRES, leaves_to_search)
    layout = lay_out(LEAF, LEAVES + 2, searched, at_least=1)  # two leaves are empty
    flat = layout.row.reshape(-1)
    np.testing.assert_array_equal(flat[layout.slot], np.arange(N))
    assert (flat >= 0).sum() == N
    for block, leaf in enumerate(layout.leaf):
        members = layout.row[block][layout.row[block] >= 0]
        assert len(members) and (LEAF[members] == leaf).all()
    blocks = np.bincount(layout.leaf, minlength=LEAVES)
    assert layout.probes == max(blocks[leaves].sum() for leaves in searched)


def test_tree_and_vectors_have_to_fit():
    with pytest.raises(ValueError, match="different indexes"):
        PortableIndex(VECTORS[:-1], PARTITION, 3, 5)


def test_merging_keeps_the_best_score_of_each_row():
    rows, scores = merge_interests(
        tf.constant([[4, 2, 7, 2], [1, 1, -1, -1]]),
        tf.constant([[1.0, 0.5, 0.3, 0.9], [0.2, 0.1, -np.inf, -np.inf]]),
        3,
    )
    assert rows.numpy()[0].tolist() == [4, 2, 7]
    np.testing.assert_allclose(scores[0], [1.0, 0.9, 0.3])
    assert rows.numpy()[1, 0] == 1
    np.testing.assert_allclose(scores[1], [0.2, -np.inf, -np.inf])
