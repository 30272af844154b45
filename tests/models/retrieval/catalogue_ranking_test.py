import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401
from models.input import batch as b
from models.layers.mixture import Mixture
from models.retrieval.catalogue_ranking import CatalogueRanking
from models.retrieval.catalogue_ranking import rank_targets
from models.retrieval.catalogue_ranking import ranking_metrics
from serving.index.searching.exact import ExactIndex
from tfx_pipeline.evaluation.metrics.ranking_sums import Outcome
from tfx_pipeline.evaluation.metrics.ranking_sums import RankingSums


def oracle_ranks(queries, candidates, targets, seen):
    """Sorts every list by descending score, earlier rows first among equals."""
    ranks = np.full(targets.shape, len(candidates))
    for user, query in enumerate(queries):
        scores = candidates @ query
        for column, target in enumerate(targets[user]):
            if target < 0 or target in seen[user]:
                continue
            shown = [row for row in range(len(candidates)) if row not in seen[user]]
            order = sorted(shown, key=lambda row: (-scores[row], row))
            ranks[user, column] = order.index(target)
    return ranks


def test_ranks_equal_sorting_with_seen_items_ties_and_missing_targets():
    rng = np.random.default_rng(1)
    queries = rng.integers(-2, 3, size=[20, 3]).astype(np.float32)  # whole numbers: many ties
    candidates = rng.integers(-2, 3, size=[40, 3]).astype(np.float32)
    targets = rng.integers(-1, 40, size=[20, 3])
    seen = rng.integers(-1, 40, size=[20, 15])  # with repeats, and targets among them

    given = [tf.constant(values) for values in (queries, candidates, targets, seen)]
    expected = oracle_ranks(queries, candidates, targets, seen)
    for cut in (1, 7, 40, 90):
        ranks = rank_targets(*given, cut)
        np.testing.assert_array_equal(ranks, np.where(expected < cut, expected, 40))


@pytest.mark.parametrize("number", [1, 999, 1_000, 3_001])
def test_first_of_many_blocks_with_ties_between_them(number):
    rng = np.random.default_rng(2)
    queries = rng.integers(0, 3, size=[6, 2]).astype(np.float32)
    candidates = rng.integers(0, 4, size=[number, 2]).astype(np.float32)
    scores = queries @ candidates.T
    order = np.lexsort((np.broadcast_to(np.arange(number), scores.shape), -scores))[:, :10]
    targets = np.concatenate([order, rng.integers(0, number, size=[6, 5])], axis=1)

    ranks = rank_targets(*map(tf.constant, (queries, candidates, targets, np.full([6, 1], -1))), 10)

    expected = oracle_ranks(queries, candidates, targets, [[]] * 6)
    np.testing.assert_array_equal(ranks, np.where(expected < 10, expected, number))


def test_nothing_seen():
    queries, candidates = np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)[[1, 0, 1]]
    targets = np.array([[1], [2]])

    ranks = rank_targets(
        tf.constant(queries),
        tf.constant(candidates),
        tf.constant(targets),
        tf.zeros([2, 0], tf.int64),
        3,
    )

    np.testing.assert_array_equal(ranks, [[0], [1]])


def test_best_of_several_vectors_ranks():
    queries = tf.constant([[[1.0, 0.0], [0.0, 1.0]]])
    candidates = tf.constant([[0.9, 0.0], [0.0, 2.0], [1.5, 0.0]])

    ranks = rank_targets(
        queries,
        candidates,
        tf.constant([[0, 1, 2]], tf.int64),
        tf.zeros([1, 0], tf.int64),
        3,
    )

    np.testing.assert_array_equal(ranks, [[2, 0, 1]])


def test_a_mixture_of_several_vectors_ranks():
    """The second item is the best of no interest, and the best of their mixture."""
    queries = Mixture(tf.constant([[[1.0, 0.0], [0.0, 1.0]]]), tf.math.log([[0.5, 0.5]]))
    candidates = tf.constant([[2.0, 0.0], [1.8, 1.8], [0.0, 2.0]])

    ranks = rank_targets(
        queries,
        candidates,
        tf.constant([[0, 1, 2]], tf.int64),
        tf.zeros([1, 0], tf.int64),
        3,
    )

    np.testing.assert_array_equal(ranks, [[1, 0, 2]])


def test_metrics_by_hand():
    ranks = np.array([[0, 9], [1, 3], [5, 9]])  # at K = 2: hit at 0; hit at 1; miss
    present = np.array([[True, False], [True, True], [True, False]])

    metrics = ranking_metrics(ranks, present, [2])

    log2 = np.log2
    assert metrics["hr@2"] == pytest.approx(2 / 3)
    assert metrics["recall@2"] == pytest.approx((1 + 0.5 + 0) / 3)
    ideal_of_two = 1 + 1 / log2(3)
    assert metrics["ndcg@2"] == pytest.approx((1 + (1 / log2(3)) / ideal_of_two) / 3)
    assert metrics["mrr@2"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert ranking_metrics(ranks, present, [6])["mrr@6"] == pytest.approx((1 + 1 / 2 + 1 / 6) / 3)


def test_metrics_are_those_of_the_evaluation():
    rng = np.random.default_rng(11)
    present = rng.random([80, 4]) < 0.6
    present[:, 0] = True
    ranks = np.argsort(rng.random([80, 30]))[:, :4]
    metrics = ranking_metrics(ranks, present, [1, 5, 20])

    for k in (1, 5, 20):
        sums = RankingSums(k)
        for row, some in zip(ranks, present, strict=True):
            sums.add([Outcome(tuple(sorted(row[some])), int(some.sum()), 0)])
        for name in ("hr", "recall", "ndcg", "mrr"):
            assert metrics[f"{name}@{k}"] == pytest.approx(sums.mean(name), abs=1e-9), (name, k)


def make_batch(targets, seen):
    size = len(targets)
    return {
        b.HISTORY_LENGTH: tf.range(size, dtype=tf.int64),
        b.TARGET_ENTITY: tf.constant(targets, tf.int64),
        b.TARGET_NUMBER: tf.ones([size], tf.int64),
        b.REQUEST_TIME: tf.zeros([size], tf.int64),
        b.SEEN_ENTITY: tf.constant(seen, tf.int64),
    }


def test_catalogue_ranking_maps_entities_to_candidates_and_limits_users():
    # Entities 2, 3 and 5 are candidates; 4 is not and 0 is unknown, so their users miss.
    vectors = tf.constant([[0.0], [9.0], [1.0], [2.0], [9.0], [3.0]])
    batches = [
        make_batch([[5], [3], [2]], [[0], [5], [3]]),
        make_batch([[4], [0], [5]], [[0], [0], [0]]),
    ]
    ranking = CatalogueRanking(batches, np.array([2, 3, 5]), size=6, k=[1], users=5)

    metrics = ranking.evaluate(
        lambda batch: tf.ones([len(batch[b.HISTORY_LENGTH]), 1]),
        lambda ids: tf.gather(vectors, ids),
    )

    # 5 leads; 3 leads once 5 is seen; 2 comes after 5 though 3 is seen; 4 is no candidate.
    assert metrics["hr@1"] == pytest.approx(2 / 5)
    assert metrics["users"] == 5


def test_what_comes_later_than_a_request_is_not_ranked_for_it():
    # Item 3 leads and launches at 50, after the requests of the first two users.
    vectors = tf.constant([[0.0], [1.0], [2.0], [3.0]])
    launch = np.array([0, 0, 10, 50])
    batch = make_batch([[2], [3], [2], [3], [2]], [[0], [0], [0], [0], [3]])
    batch[b.REQUEST_TIME] = tf.constant([49, 49, 50, 50, 49], tf.int64)

    def hit_rate(*users: int, **more) -> float:
        chosen = {name: tf.gather(values, users) for name, values in batch.items()}
        ranking = CatalogueRanking([chosen], np.array([1, 2, 3]), size=4, k=[1], **more)
        answers = ranking.evaluate(
            lambda batch: tf.ones([len(batch[b.HISTORY_LENGTH]), 1]),
            lambda ids: tf.gather(vectors, ids),
        )
        return answers["hr@1"]

    assert hit_rate(0, available_from=launch) == 1.0  # the item above it is not there yet
    assert hit_rate(1, available_from=launch) == 0.0  # its own target is not there yet
    assert hit_rate(2, available_from=launch) == 0.0
    assert hit_rate(3, available_from=launch) == 1.0  # at the moment of the launch
    assert hit_rate(4, available_from=launch) == 1.0  # seen and not there: taken off once
    assert hit_rate(0) == 0.0 and hit_rate(1) == 1.0  # without moments all is there


def test_ranks_are_those_of_the_served_search():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=[31, 4]).astype(np.float32)
    queries = rng.normal(size=[20, 4]).astype(np.float32)
    launch = rng.integers(0, 100, size=[31]) * rng.integers(0, 2, size=[31])  # 0 is always
    times, targets = rng.integers(0, 100, size=[20]), rng.integers(1, 31, size=[20, 1])
    seen = rng.integers(0, 31, size=[20, 4])
    batch = make_batch(targets, seen) | {b.REQUEST_TIME: tf.constant(times)}
    ranking = CatalogueRanking(
        [batch], np.arange(1, 31), size=31, k=list(range(1, 31)), available_from=launch
    )
    metrics = ranking.evaluate(
        lambda _: tf.constant(queries), lambda ids: tf.gather(tf.constant(vectors), ids)
    )

    index = ExactIndex(vectors[1:], 30, launch[1:])
    rows, _ = index.search(
        tf.constant(queries), tf.constant(seen - 1, tf.int32), tf.constant(times)
    )
    for k in range(1, 31):
        hits = (rows.numpy()[:, :k] == targets - 1).any(axis=1)
        assert metrics[f"hr@{k}"] == pytest.approx(hits.mean(), abs=1e-12)
    assert 0.3 < metrics["hr@30"] < 1  # some targets are seen or not there yet


def test_batches_of_different_width_are_averaged_over_all_users():
    # One user with one target, and two with three at most; the items are ranked 3, 2, 1.
    one, many = make_batch([[1]], [[0]]), make_batch([[1, 2, 3], [2, 0, 0]], [[0], [0]])
    many[b.TARGET_NUMBER] = tf.constant([3, 1], tf.int64)
    vectors = tf.constant([[0.0], [1.0], [2.0], [3.0]])

    def evaluate(*batches):
        ranking = CatalogueRanking(batches, np.array([1, 2, 3]), size=4, k=[3])
        return ranking.evaluate(
            lambda batch: tf.ones([len(batch[b.TARGET_NUMBER]), 1]),
            lambda ids: tf.gather(vectors, ids),
        )

    metrics = evaluate(one, many)
    assert metrics == pytest.approx(evaluate(many, one))
    assert metrics["mrr@3"] == pytest.approx((1 / 3 + 1 + 1 / 2) / 3)
    assert metrics["hr@3"] == 1.0 and metrics["recall@3"] == 1.0 and metrics["users"] == 3
    # What pads a narrow batch is no target at the top, where its own target is missed.
    missed = evaluate(make_batch([[0]], [[0]]), many)
    assert missed["mrr@3"] == pytest.approx((0 + 1 + 1 / 2) / 3)


def test_timelines_without_a_target_are_no_users():
    batch = make_batch([[1], [0]], [[0], [0]]) | {b.TARGET_NUMBER: tf.constant([1, 0], tf.int64)}
    ranking = CatalogueRanking([batch], np.array([1]), size=2, k=[1])

    metrics = ranking.evaluate(lambda _: tf.ones([2, 1]), lambda _: tf.ones([1, 1]))

    assert metrics["hr@1"] == 1.0 and metrics["users"] == 1


def test_catalogue_ranking_equals_the_oracle_on_random_vectors():
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=[50, 4]).astype(np.float32)
    queries = rng.normal(size=[30, 4]).astype(np.float32)
    targets = rng.integers(1, 50, size=[30, 1])
    seen = rng.integers(0, 50, size=[30, 6])
    seen[seen == targets] = 0
    batch = make_batch(targets, seen)
    ranking = CatalogueRanking([batch], np.arange(1, 50), size=50, k=[5, 10])

    metrics = ranking.evaluate(
        lambda _: tf.constant(queries), lambda ids: tf.gather(tf.constant(vectors), ids)
    )

    ranks = oracle_ranks(queries, vectors[1:], targets - 1, seen - 1)
    assert metrics["hr@10"] == pytest.approx((ranks < 10).mean(), abs=1e-12)
    gains = np.where(ranks < 5, 1 / np.log2(ranks + 2), 0)
    assert metrics["ndcg@5"] == pytest.approx(gains.mean(), abs=1e-12)


def test_users_are_asked_without_history_and_beside_popularity():
    # The model repeats the newest item; item 3 is the most popular, then 1.
    batch = make_batch([[1], [2], [3]], [[1], [2], [3]])
    batch[b.HISTORY_ENTITY] = tf.constant([[1], [2], [3]], tf.int64)
    batch[b.SEEN_ENTITY] = tf.constant([[3], [0], [0]], tf.int64)
    ranking = CatalogueRanking([batch], np.array([1, 2, 3]), size=4, k=[1])

    def newest(given):
        return tf.one_hot(given[b.HISTORY_ENTITY][:, 0], 4)

    def items(ids):
        return tf.one_hot(ids, 4)

    assert ranking.evaluate(newest, items)["hr@1"] == 1.0
    # All scores are 0 then, and the first candidate comes first, whatever was seen.
    assert ranking.evaluate(newest, items, without_history=True)["hr@1"] == pytest.approx(1 / 3)
    counts = np.array([0, 5, 1, 9])
    seen = ranking.evaluate_popularity(counts)
    assert seen["hr@1"] == pytest.approx(2 / 3)  # 1 to who has seen 3, and 3 to the third
    assert ranking.evaluate_popularity(counts, True)["hr@1"] == pytest.approx(1 / 3)


def test_no_held_out_target_is_an_error():
    empty = make_batch([[0]], [[0]]) | {b.TARGET_NUMBER: tf.constant([0], tf.int64)}
    with pytest.raises(ValueError, match="validation"):
        CatalogueRanking([empty], np.array([1]), size=2)


def test_a_score_that_is_not_finite_is_a_miss():
    queries = tf.constant([[np.nan, 0.0], [1.0, 0.0]])
    candidates = tf.constant([[1.0, 0.0], [0.0, 1.0]])
    nothing_seen = tf.fill([2, 1], tf.constant(-1, tf.int64))
    targets = tf.constant([[0], [0]], tf.int64)
    ranks = rank_targets(queries, candidates, targets, nothing_seen, 2)

    np.testing.assert_array_equal(ranks.numpy(), [[2], [0]])
    candidates = tf.constant([[np.nan, 0.0], [0.0, 1.0], [1.0, 0.0], [np.inf, 0.0]])
    targets = tf.constant([[0, 1, 2, 3]], tf.int64)
    ranks = rank_targets(queries[1:], candidates, targets, nothing_seen[:1], 4)
    np.testing.assert_array_equal(ranks.numpy(), [[4, 2, 1, 4]])
