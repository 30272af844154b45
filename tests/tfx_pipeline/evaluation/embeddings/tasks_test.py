"""Labels and scores of tasks, by hand."""

import numpy as np
import pytest

from tfx_pipeline.evaluation.embeddings import item_tasks
from tfx_pipeline.evaluation.embeddings import pair_tasks
from tfx_pipeline.evaluation.embeddings import user_tasks
from tfx_pipeline.evaluation.embeddings.log import DividedLog
from tfx_pipeline.evaluation.embeddings.log import Events
from tfx_pipeline.evaluation.embeddings.probes import balanced
from tfx_pipeline.evaluation.embeddings.probes import probed
from tfx_pipeline.evaluation.embeddings.probes import split_rows
from tfx_pipeline.evaluation.embeddings.suite import TASKS
from tfx_pipeline.evaluation.embeddings.suite import Suite
from tfx_pipeline.evaluation.embeddings.task import Aligned
from tfx_pipeline.evaluation.embeddings.vectors import Vectors

NONE = Events(*(np.empty(0, np.int64),) * 2, np.empty(0, np.float32))


def events(*rows):
    """Events of (user, item) or (user, item, value)."""
    value = [row[2] if len(row) > 2 else np.nan for row in rows]
    return Events(*np.array([row[:2] for row in rows]).T, np.array(value, np.float32))


def log_of(known, later, users=4, items=5, **changed):
    values = {
        "name": "toy", "shown": NONE, "attributes": {}, "hidden": frozenset(),
        "users": np.array([f"u{i}" for i in range(users)], object),
        "items": np.array([f"item:{i}" for i in range(items)], object),
        "categories": np.zeros((items, 0), bool),
    }  # fmt: skip
    return DividedLog(known=known, later=later, **(values | changed))


def aligned(users, items):
    users = np.asarray(users, np.float32)
    keys = np.arange(len(users)).astype(str).astype(object)
    return Aligned(Vectors(keys, users[:, None]), np.asarray(items, np.float32), 0, 0)


def test_the_next_item_is_the_first_new_one_and_ranked_among_new_ones(monkeypatch):
    known = events((0, 0), (1, 3), (2, 1), (3, 2))
    later = events((0, 0), (0, 4), (0, 1), (1, 3), (2, 0))
    log = log_of(known, later)
    users, items = pair_tasks.next_items(log)
    assert users.tolist() == [0, 2] and items.tolist() == [4, 0]  # 1 does nothing new, 3 nothing
    # User 0: 9 of the known item 0 does not count; 3 and 2 are above 1. User 2: all are equal.
    scores = np.array([[9, 3, 0, 2, 1], [0] * 5, [5] * 5, [0] * 5], np.float32)
    for cells in (1, 1 << 20):  # in blocks of one user, or all at once
        monkeypatch.setattr(pair_tasks, "_CELLS", cells)
        _, ranks = pair_tasks.next_ranks(log, aligned(scores, np.eye(5)))
        assert ranks.tolist() == [2, 1.5]
    found = pair_tasks.rank_next(log, aligned(scores, np.eye(5)))
    gains = 1 / np.log2(np.array([4, 3.5]))
    assert found["ndcg@10"][0] == pytest.approx(gains.mean())
    assert found["recall@10"][0] == 1
    monkeypatch.setattr(pair_tasks, "MOST_USERS", 1)
    chosen, item = pair_tasks.next_items(log)
    assert (chosen[0], item[0]) in [(0, 4), (2, 0)] and len(chosen) == 1


def test_ratings_are_high_from_the_known_median_on_and_impressions_come_first():
    known = events((0, 0, 5), (0, 1, 4), (1, 0, 1), (1, 2))
    later = events((0, 2, 4), (0, 3), (1, 1, 3))
    pairs, label, reason = pair_tasks.labelled_pairs(log_of(known, later))
    assert pairs.item.tolist() == [2, 1] and label.tolist() == [True, False] and not reason
    shown = events((2, 1, 0), (2, 2, 1))
    pairs, label, _ = pair_tasks.labelled_pairs(log_of(known, later, shown=shown))
    assert pairs.user.tolist() == [2, 2] and label.tolist() == [False, True]
    assert pair_tasks.labelled_pairs(log_of(known, events((0, 1))))[2]


def test_few_labels_are_those_of_many_users():
    rows = [(user, user % 5, 5 * (user % 2)) for user in range(60) for _ in range(100)]
    log = log_of(events(*rows), events(*rows), users=60)
    pairs, _, _ = pair_tasks.labelled_pairs(log)
    split = pair_tasks._rated_split(log, pairs)
    assert len(split.train) < pair_tasks.MOST_RATED[0]  # all of them are taken
    assert len(np.unique(split.train)) == len(split.train)
    assert len(np.unique(pairs.user[split.small])) > 30


def test_preference_is_the_share_of_categories_in_later_events():
    categories = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]], bool)
    later = events((0, 0), (0, 1), (0, 1), (1, 2), (2, 3))
    log = log_of(events((0, 4)), later, categories=categories)
    expected = [[3 / 5, 2 / 5, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(user_tasks.later_preference(log), expected, rtol=1e-6)


def test_related_items_follow_each_other_and_others_are_nowhere_related():
    # 0-1 four times (in both directions), 2-3 four times; 4 after itself is no pair.
    rows = [(u, i) for u in range(4) for i in ((0, 1) if u % 2 else (1, 0))]
    rows += [(u, i) for u in range(4, 8) for i in (2, 3)] + [(8, 4), (8, 4)]
    log = log_of(events((0, 0)), events(*rows), users=9)
    pairs, label, user = item_tasks.related_pairs(log)
    assert {tuple(sorted(pair)) for pair in pairs[label]} == {(0, 1), (2, 3)}
    assert label.sum() == 8 and user[label].tolist() == list(range(8))
    assert not {tuple(sorted(pair)) for pair in pairs[~label]} & {(0, 1), (2, 3)}
    close = aligned(np.ones((9, 2)), [[1, 0], [2, 0.1], [0, 1], [0.1, 5], [1, 1]])
    assert item_tasks.relate(log, close)["auc"][0] == 1


def test_look_alikes_are_found_by_half_of_an_items_new_users():
    # Users 0 to 11 take item 0 later, 12 to 39 item 1; 20 to 29 knew item 1 already.
    known = events(*((u, 1) for u in range(20, 30)), (39, 3))
    later = events(*((u, 0) for u in range(12)), *((u, 1) for u in range(12, 40)), (5, 2))
    log = log_of(known, later, users=40)
    items, audience = user_tasks.audiences(log)
    by_item = dict(zip(items.tolist(), audience.sum(axis=1), strict=True))
    assert by_item == {0: 12, 1: 18}  # the third item has a single user
    group = np.eye(2)[(np.arange(40) >= 12).astype(int)]
    # The list is 2 of 40 users long; both are of the audience.
    assert user_tasks.expand_seeds(log, aligned(group, np.eye(5)))["recall@5%"][0] == 1
    # All users alike: each of 34 (and 21) candidates is among the first two by even chances.
    alike = user_tasks.expand_seeds(log, aligned(np.ones((40, 2)), np.eye(5)))["recall@5%"][0]
    assert alike == pytest.approx(np.mean([6 * (2 / 34) / 2, 9 * (2 / 21) / 2]))


def test_look_alikes_of_several_vectors_are_found_by_their_mean_by_weight():
    later = events(*((u, 0) for u in range(12)), *((u, 1) for u in range(12, 40)))
    log = log_of(events((39, 3)), later, users=40)
    group = np.eye(2, dtype=np.float32)[(np.arange(40) >= 12).astype(int)]
    # The group's vector is now the first, now the second; the other one has no weight.
    first = (np.arange(40) % 2 == 0)[:, None]
    vectors = np.where(first[:, :, None], [[[1], [0]]], [[[0], [1]]]) * group[:, None]
    weights = np.where(first, [[1, 0]], [[0, 1]]).astype(np.float32)
    vectors = (vectors + (weights == 0)[:, :, None] * [7.0, 7.0]).astype(np.float32)
    given = aligned(group, np.eye(5))
    several = Aligned(Vectors(given.users.keys, vectors, weights), given.items, 0, 0)
    assert user_tasks.expand_seeds(log, several)["recall@5%"][0] == pytest.approx(1)


def test_attributes_are_predicted_by_their_kind():
    rng = np.random.default_rng(0)
    code = {"sex": rng.integers(0, 2, 400), "age": rng.integers(0, 3, 400)}
    code["age"][:40] = -1
    told = np.hstack([np.eye(2)[code["sex"]], np.eye(4)[code["age"]]])
    log = log_of(events((0, 0)), NONE, users=400, attributes=code)
    found = user_tasks.predict_attributes(log, aligned(told, np.eye(5)))
    kinds = {(*name.split("/")[:2],) for name in found}
    assert kinds == {("auc", "sex"), ("macro_f1", "age")} and len(found) == 8
    assert all(one[0] > 0.99 for name, one in found.items() if "linear" in name)


def test_the_threshold_of_categories_has_as_many_as_the_labelled_items():
    rng = np.random.default_rng(0)
    labels = rng.random((300, 4)) < [0.1, 0.5, 0.3, 0.2]
    log = log_of(events((0, 0)), NONE, items=300, categories=labels)
    found = item_tasks.predict_categories(log, aligned(np.ones((4, 4)), labels))
    assert all(one[0] > 0.9 for one in found.values())
    blind = item_tasks.predict_categories(log, aligned(np.ones((4, 4)), np.zeros((300, 4))))
    assert all(0.2 < one[0] < 0.6 for one in blind.values())


def test_a_log_without_what_a_task_needs_says_so():
    attributes = {"sex": np.zeros(4, np.int64)}
    log = log_of(events((0, 0)), events((0, 1)), attributes=attributes)
    reasons = {task.name: task.missing(log) for task in TASKS}
    assert "embeddings may have read them" in reasons["user_attributes"]
    assert "fewer than 20 rows" in reasons["item_demand"]
    assert all(reasons.values())
    with pytest.raises(ValueError, match="no task"):
        Suite(log)
    categories = np.random.default_rng(0).random((200, 2)) < 0.5
    known = log_of(events((0, 0)), events((0, 1)), items=200, categories=categories)
    assert "may have read" in item_tasks.ITEM_TASKS[0].missing(known)


def test_labels_that_are_all_alike_are_no_task():
    everyone = np.zeros(400, np.int64)
    everyone[:2] = 1  # too few to be among those that are judged and a small budget
    hidden = frozenset({"user-attributes", "categories"})
    rows = [(u, i % 5, 5) for u in range(400) for i in (u, u + 1)]
    log = log_of(
        events(*rows), events(*rows), users=400, attributes={"sex": everyone}, hidden=hidden
    )
    by_name = {task.name: task.missing(log) for task in TASKS}
    assert by_name["user_attributes"] == "all users tell the same"
    assert by_name["rating"] == "all labels are alike"
    half = {"sex": everyone, "age": np.arange(400) % 2}
    both = log_of(events(*rows), NONE, users=400, attributes=half, hidden=hidden)
    assert not TASKS[0].missing(both)
    found = user_tasks.predict_attributes(both, aligned(np.ones((400, 2)), np.eye(5)))
    assert {name.split("/")[1] for name in found} == {"age"}


def test_rows_are_split_by_their_keys_alone():
    keys = np.array([f"u{i % 500}" for i in range(1000)], object)
    split = split_rows(keys)
    assert not set(keys[split.train]) & set(keys[split.test])
    assert 0.25 < len(split.test) / 1000 < 0.35
    assert set(split.small) < set(split.train) and len(split.small) == round(len(split.train) / 20)
    fewer = split_rows(keys, np.arange(0, 1000, 2))
    assert set(fewer.test) == {row for row in split.test if row % 2 == 0}


def test_classes_are_repeated_until_they_are_about_as_many():
    label = np.repeat([0, 1, 2], [60, 30, 10])
    chosen = balanced(label)(np.arange(100))
    assert np.bincount(label[chosen]).tolist() == [60, 30, 30]


def test_probes_learn_a_line_and_the_mlp_more_than_that():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (3000, 2)).astype(np.float32)
    target = np.column_stack([x[:, 0], x[:, 0] * x[:, 1]])
    split = split_rows(np.arange(3000).astype(str).astype(object))
    found = dict(probed(split, x.__getitem__, target))
    assert list(found) == ["linear/all", "mlp/all", "linear/5%", "mlp/5%"]
    error = {name: ((one - target[split.test]) ** 2).mean(axis=0) for name, one in found.items()}
    variance = target.var(axis=0)
    assert error["linear/all"][0] < 0.001 * variance[0]
    assert error["linear/all"][1] > 0.9 * variance[1]
    assert error["mlp/all"][1] < 0.2 * variance[1]
