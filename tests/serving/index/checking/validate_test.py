"""The index over 25,000 candidates: ScaNN's search, the portable backend, the verdict."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from serving.index import search_quality
from serving.index.building import curve
from serving.index.checking import validate
from serving.index.config import CheckConfig
from serving.index.queries import Queries
from serving.index.queries import load_queries
from serving.index.search_quality import recall
from serving.index.searching.backend import choose_backend
from serving.index.searching.backend import make_searcher
from serving.index.searching.portable import PortableIndex
from serving.index.tree.scann_files import read_partition
from tests.helpers.servables import seal_without_scann
from tests.helpers.servables import write_vectors

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def large(workshop):
    return workshop.index("large")


@pytest.fixture(scope="module")
def queries(workshop):
    return workshop.queries


@pytest.fixture(scope="module")
def answer(large, queries):
    return validate.measure_answer(large, Queries(queries), CheckConfig(exact_below=0))


def search(searcher, queries, excluded=None, request_time=0):
    batch = len(queries)
    rows, scores = searcher.search(
        queries,
        np.full((batch, 1), -1, np.int32) if excluded is None else excluded,
        np.full(batch, request_time, np.int64),
    )
    return rows.numpy(), scores.numpy()


def test_above_exact_below_the_portable_form_answers(large, answer):
    assert answer["backend"] == "portable"
    assert answer["recall_at"] == 100
    assert choose_backend(large, 20_000).name == "portable"
    assert choose_backend(large, 25_000).name == "portable"
    assert choose_backend(large, 25_001).name == "exact"


def test_mixtures_of_interests_are_tuned_and_measured_as_mixtures(workshop):
    """Tuned and checked by ScaNN's processes, and asked of the backend that answers."""
    index = workshop.index("mixed")
    search = index.info["search"]
    assert search["tuned_on"] == 50
    [chosen] = [point for point in search["curve"] if curve.is_chosen(point, search)]
    assert chosen["recall"] >= 0.99
    assert workshop.mixed["recall"] > 0.98

    queries = load_queries(workshop.folder / "mixed.npz")
    config = CheckConfig(recall_at=50, exact_below=0)
    answer = validate.measure_answer(index, queries, config)
    assert answer["backend"] == "portable" and answer["recall"] > 0.98
    best = validate.measure_answer(index, Queries(queries.vectors), config)
    assert best["recall"] > 0.98  # of other candidates:
    mixture, one = (
        search_quality.exact_scores(np.asarray(index.vectors), queries.vectors, weight)
        for weight in (queries.weight, None)
    )
    assert (np.argmax(mixture, axis=1) != np.argmax(one, axis=1)).any()


def test_the_form_that_costs_less_is_chosen(large):
    """20,000 candidates' worth for a query, and six for each candidate in its leaves."""

    def form_of(size: int, leaves: int, searched: int) -> str:
        info = {
            "index_type": "tree_ah",
            "build": {"leaves": leaves},
            "search": {"leaves_to_search": searched},
        }
        vectors = np.broadcast_to(np.float32(0), (size, 1))
        return choose_backend(dataclasses.replace(large, info=info, vectors=vectors)).name

    assert form_of(20_000, 100, 1) == "exact"
    assert form_of(30_000, 100, 5) == "portable"  # 29,000
    assert form_of(30_000, 100, 6) == "exact"  # 30,800
    assert form_of(1_000_000, 1_000, 163) == "portable"  # 998,000
    assert form_of(1_000_000, 1_000, 164) == "exact"  # 1,004,000


def test_the_portable_form_finds_no_less_than_scann_at_the_same_leaves(workshop, answer):
    scann = workshop.scann
    assert scann["queries"] == 300 and scann["recall_at"] == 100
    assert scann["recall"] > 0.9
    assert answer["recall"] >= scann["recall"]


def test_a_moved_index_is_the_same(workshop, large):
    assert workshop.index("moved").fingerprint == large.fingerprint


def test_the_portable_form_is_exact_over_the_leaves_that_it_searches(large, queries):
    partition = read_partition(large.scann_dir)
    searcher = make_searcher(large, choose_backend(large, 0), 100)
    assert isinstance(searcher, PortableIndex)
    layout, queries = searcher.layout, queries[:50]
    assert layout.probes * layout.slots < large.size / 2
    leaf_scores = queries @ partition.centres.T
    chosen = np.argsort(-leaf_scores[:, layout.leaf], axis=1, kind="stable")[:, : layout.probes]
    rows, scores = search(searcher, queries)
    vectors = np.asarray(large.vectors)
    whole = []
    for query in range(len(queries)):
        inside = layout.row[chosen[query]].reshape(-1)
        inside = inside[inside >= 0]
        asked = np.argsort(-leaf_scores[query])[:16]
        whole.append(np.isin(np.flatnonzero(np.isin(partition.leaf, asked)), inside).all())
        best = np.sort(vectors[inside] @ queries[query])[::-1][:100]
        np.testing.assert_allclose(scores[query], best, rtol=1e-5)
        np.testing.assert_allclose(vectors[rows[query]] @ queries[query], best, rtol=1e-5)
    assert np.mean(whole) > 0.95  # queries that had all the leaves they asked for


def test_all_leaves_are_exact_search(large, queries):
    partition = read_partition(large.scann_dir)
    leaves = large.info["build"]["leaves"]
    vectors = np.asarray(large.vectors)
    rows, _ = search(PortableIndex(vectors, partition, leaves, 100), queries)
    assert recall(vectors, queries, rows, 100).min() == 1.0


def test_masks_at_scale(large, queries):
    searcher = make_searcher(large, choose_backend(large, 0), 100)
    queries = queries[:20]
    plain, _ = search(searcher, queries)
    rows, scores = search(searcher, queries, plain[:, :50], request_time=999)
    late = large.available_from() > 999
    assert late.sum() == 2_500
    assert (rows >= 0).all() and np.isfinite(scores).all()
    assert not late[rows].any()
    for query in range(20):
        assert not set(rows[query]) & set(plain[query, :50])
        kept = [row for row in plain[query, 50:] if not late[row]]
        assert rows[query, : len(kept)].tolist() == kept


def measured(value, latency):
    return {
        "backend": "portable",
        "recall": value,
        "recall_at": 100,
        "latency_ms": {"p50": 1.0, "p99": latency, "queries": 9},
    }


@pytest.mark.parametrize(
    ("scann", "answer", "reasons"),
    [
        (measured(0.98, 5.0), measured(1.0, 50.0), []),
        (measured(0.9799, 5.0), measured(1.0, 5.0), ["recall@100 of ScaNN is 0.9799"]),
        (measured(0.99, 5.0), measured(0.5, 5.0), ["recall@100 of the portable backend is 0.5"]),
        (measured(0.99, 50.1), measured(1.0, 60.0), ["latency of ScaNN", "latency of the port"]),
        (measured(float("nan"), 1.0), measured(1.0, 1.0), ["recall@100 of ScaNN is nan"]),
    ],
)  # fmt: skip
def test_what_is_objected_to(scann, answer, reasons):
    found = validate.objections(scann, answer, CheckConfig())
    assert len(found) == len(reasons)
    for message, part in zip(found, reasons, strict=True):
        assert part in message


def test_fewer_candidates_than_k(tmp_path):
    write_vectors(tmp_path, ["a:1", "a:2", "b:1"], np.eye(3))
    index = seal_without_scann(tmp_path)
    found = validate.measure_answer(index, Queries(np.eye(3, dtype=np.float32)), CheckConfig())
    assert found["recall_at"] == 3 and found["recall"] == 1.0 and found["backend"] == "exact"
