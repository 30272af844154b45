from __future__ import annotations

import numpy as np

from serving.index import search_quality

VECTORS = np.array([[1.0], [2.0], [3.0], [4.0]], np.float32)


def test_recall_by_hand():
    rows = np.array([[3, 2], [3, 0], [0, 1], [-1, -1]])
    queries = np.ones((4, 1), np.float32)
    np.testing.assert_array_equal(
        search_quality.recall(VECTORS, queries, rows, 2), [1.0, 0.5, 0.0, 0.0]
    )


def test_a_row_found_twice_counts_once():
    rows = np.array([[3, 3]])
    assert search_quality.recall(VECTORS, np.ones((1, 1), np.float32), rows, 2)[0] == 0.5


def test_equal_vectors_stand_for_each_other():
    vectors = np.ones((5, 1), np.float32)
    assert search_quality.recall(vectors, np.ones((1, 1), np.float32), np.array([[4]]), 1)[0] == 1


def test_the_best_of_several_interests_counts():
    vectors = np.eye(3, dtype=np.float32)
    query = np.array([[[0.1, 0.0, 0.0], [0.0, 0.0, 9.0]]], np.float32)  # [1, K=2, 3]
    np.testing.assert_allclose(search_quality.exact_scores(vectors, query), [[0.1, 0.0, 9.0]])
    assert search_quality.recall(vectors, query, np.array([[2, 0]]), 2)[0] == 1


def test_a_mixture_of_interests_counts():
    """The second candidate is the best of no interest, and the best of their mixture."""
    vectors = np.array([[2.0, 0.0], [1.8, 1.8], [0.0, 2.0]], np.float32)
    query, weight = np.eye(2, dtype=np.float32)[None], np.array([[0.25, 0.75]], np.float32)

    scores = search_quality.exact_scores(vectors, query, weight)
    even = np.log([[0.25 * np.exp(2) + 0.75, np.exp(1.8), 0.25 + 0.75 * np.exp(2)]])
    np.testing.assert_allclose(scores, even, rtol=1e-6)
    rows = np.array([[1], [2]])
    queries, weights = np.repeat(query, 2, axis=0), np.repeat(weight, 2, axis=0)
    assert search_quality.recall(vectors, queries, rows, 1, weights).tolist() == [1.0, 0.0]
    assert search_quality.recall(vectors, queries, rows, 1).tolist() == [0.0, 1.0]


def test_latency_reports_percentiles_of_every_query():
    asked = []
    measured = search_quality.latency_ms(asked.append, [1, 2, 3], warm_up=2)
    assert asked == [1, 2, 1, 2, 3]
    assert measured["queries"] == 3
    assert 0 <= measured["p50"] <= measured["p99"]
