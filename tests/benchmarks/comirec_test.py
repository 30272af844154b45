"""ComiRec on a log's events, against NumPy."""

import numpy as np
import pytest

import models  # noqa: F401  (chooses Keras 2)
from benchmarks.comirec import EventComiRec
from benchmarks.comirec import newest_before

USER = np.repeat([0, 1, 3], [3, 2, 4])  # user 2 has no events
ITEM = np.array([5, 6, 7, 1, 2, 4, 5, 4, 5])


def make():
    return EventComiRec(8, 6, 2, 3, 0.02, 16, seed=1)


@pytest.mark.parametrize(
    ("place", "user", "items"),
    [
        (0, 0, []),
        (2, 0, [6, 5]),
        (4, 1, [1]),
        (5, 1, [2, 1]),
        (5, 2, []),
        (9, 3, [5, 4, 5]),
    ],
)
def test_newest_events_of_the_user_before_a_place(place, user, items):
    found, there = newest_before(USER, ITEM, np.array([place]), np.array([user]), 3)
    assert found[0, there[0]].tolist() == items


def test_interests_equal_numpy():
    model = make()
    found = model.users(USER, ITEM, 4)
    w, weigh = (one.numpy() for one in model.extract.trainable_variables)
    for user, items in ((0, [7, 6, 5]), (1, [2, 1]), (3, [5, 4, 5])):
        x = model.table.numpy()[items] + model.places.numpy()[: len(items)]
        logits = np.tanh(x @ w) @ weigh  # [n, K]
        shares = np.exp(logits) / np.exp(logits).sum(axis=0)
        np.testing.assert_allclose(found[user], shares.T @ x, atol=1e-6)
    np.testing.assert_array_equal(found[2], 0.0)


def test_the_loss_is_the_best_interests():
    model = make()
    w, weigh = (one.numpy() for one in model.extract.trainable_variables)
    table, places = model.table.numpy(), model.places.numpy()
    expected = []
    for items, target in (([5], 6), ([6, 5], 7), ([1], 2)):
        x = table[items] + places[: len(items)]
        shares = np.exp(np.tanh(x @ w) @ weigh)
        interests = (shares / shares.sum(axis=0)).T @ x
        best = interests[np.argmax(interests @ table[target])]
        scores = table @ best
        expected.append(np.log(np.exp(scores).sum()) - scores[target])

    assert model.train_epoch(USER[:5], ITEM[:5]) == pytest.approx(np.mean(expected), rel=1e-5)


def test_it_learns_what_goes_together():
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(40), 10)
    item = user % 2 * 4 + rng.integers(0, 4, 400)  # a user takes four of the eight items
    model = make()
    losses = [model.train_epoch(user, item) for _ in range(10)]

    assert losses[-1] < np.log(4) * 1.1
    scores = np.einsum("ukd,nd->ukn", model.users(user, item, 40), model.table.numpy()).max(axis=1)
    best = np.argsort(-scores, axis=1)[:, :4]
    assert np.mean(best // 4 == (np.arange(40) % 2)[:, None]) > 0.95
