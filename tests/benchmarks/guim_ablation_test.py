"""Rows of GUIM's tables, and the slices that they are measured by."""

import numpy as np
import pytest

from benchmarks import guim_ablation as ablation
from benchmarks import guim_cold_items as cold_items
from benchmarks.cold_items import is_cold
from benchmarks.guim_ablation import by_diversity
from benchmarks.guim_ablation import category_entropy
from benchmarks.guim_cold_items import cold_metrics
from benchmarks.training_run import trainer_config
from tfx_pipeline.evaluation.embeddings.log import DividedLog
from tfx_pipeline.evaluation.embeddings.log import Events
from tfx_pipeline.evaluation.embeddings.vectors import Embeddings
from tfx_pipeline.evaluation.embeddings.vectors import Vectors


def events(*pairs):
    user, item = np.array(pairs, np.int64).T
    return Events(user, item, np.ones(len(pairs), np.float32))


def divided_log(items, known, later, categories):
    return DividedLog(
        name="log",
        users=np.array(["u", "v"], object),
        items=np.array(items, object),
        known=events(*known),
        later=events(*later),
        shown=events((0, 0)),
        attributes={},
        categories=np.array(categories, bool),
        hidden=frozenset(),
    )


def embeddings(log, users, items):
    made = (np.array(rows, np.float32)[:, None] for rows in (users, items))
    return Embeddings("made", *map(Vectors, (log.users, log.items), made))


@pytest.mark.parametrize("rows", [ablation.ROWS, cold_items.ROWS], ids=["ablation", "cold"])
def test_every_row_is_another_configuration(rows):
    seen = []
    for config, changes in rows.values():
        made = trainer_config(config, changes, 0)
        assert made not in seen
        seen.append(made)


def test_entropy_of_one_category_is_none_and_of_two_is_log_two():
    log = divided_log(
        ["item:a", "item:b"], [(0, 0), (0, 0), (1, 0), (1, 1)], [(0, 1)], [[1, 0], [0, 1]]
    )

    np.testing.assert_allclose(category_entropy(log), [0, np.log(2)], atol=1e-6)


def test_gains_are_divided_by_users_entropy():
    items = ["item:a", "item:b", "item:c", "item:d"]
    log = divided_log(
        items, [(0, 0), (1, 0), (1, 1)], [(0, 2), (1, 2)], [[1, 0], [0, 1], [1, 0], [0, 1]]
    )
    # User 0 finds c first of b, c and d; user 1 second of c and d.
    made = embeddings(log, [[1, 0], [0, 1]], [[0, 0], [0, 0], [1, 1], [0, 2]])

    found = by_diversity(log, made)

    assert found == pytest.approx({"narrow": 1.0, "diverse": 1 / np.log2(3)})


def test_cold_items_are_ranked_among_themselves_and_among_all():
    names = [f"item:{number}" for number in range(200)]
    cold = [place for place, name in enumerate(names) if is_cold(name.split(":")[1])]
    warm = [place for place in range(200) if place not in cold]
    seen, aim, other = cold[:3]
    log = divided_log(
        names,
        [(0, seen), (1, warm[0])],
        [(0, warm[1]), (0, aim), (1, aim)],
        np.zeros([200, 1]),
    )
    scores = np.zeros([200, 2])
    scores[seen] = 9  # known to user 0, new to user 1
    scores[aim] = 5
    scores[warm[1:13]] = 7, 0  # twelve movies before it, for user 0
    scores[other] = 5, 0  # as high as the target for user 0
    made = embeddings(log, [[1, 0], [0, 1]], scores)

    found = cold_metrics(log, made)

    # User 0: rank 0.5 among the cold, 12.5 among all. User 1: rank 1 of both.
    assert found["users"] == 2
    assert found["among_cold_hr@10"] == 1 and found["among_all_hr@10"] == 0.5
    gains = 1 / np.log2(2.5), 1 / np.log2(3)
    assert found["among_cold_ndcg@10"] == pytest.approx(np.mean(gains))
    assert found["among_all_ndcg@10"] == pytest.approx(gains[1] / 2)
