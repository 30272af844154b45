"""Baselines of retrieval in NumPy and SciPy, ranked over all items.

Each is fitted on the sequences without their last two items, and asked with
the sequences without their last one; items of the history are excluded.

    popularity          users that have the item
    item_cosine         sum over the history of cos(item, history item)
    ease                history times B, B = I - P diag(1 / diag(P)),
                        P = (X'X + lambda I)^-1
                        (Steck, Embarrassingly shallow autoencoders, WWW 2019)
    *_recent            the same with the last 20 items only, each weighted
                        decay ** (steps back)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import linalg
from scipy import sparse

from benchmarks.interactions import Interactions
from benchmarks.interactions import read_interactions

NEWEST, DECAY = 20, 0.8
EASE_LAMBDA, EASE_RECENT_LAMBDA = 500.0, 1000.0
_USERS_AT_ONCE = 1024
_LONGEST = 100


def popularity(train: Interactions) -> np.ndarray:
    """Returns [items, items] in which every row is the number of users of each item.

    Rows sum up to a constant times the count, so the order is the count's.
    """
    counts = np.asarray(train.matrix().sum(axis=0), np.float32).ravel()
    return np.broadcast_to(counts, (len(counts), len(counts)))


def item_cosine(train: Interactions) -> np.ndarray:
    """Returns [items, items] float32, the cosine between columns of the user-item matrix."""
    matrix = train.matrix()
    together = np.asarray((matrix.T @ matrix).todense(), np.float32)
    norm = np.sqrt(np.maximum(together.diagonal(), 1.0))
    return together / norm[:, None] / norm[None, :]


def ease(train: Interactions, regularisation: float) -> np.ndarray:
    """Returns [items, items] float32, EASE's item weights with a zero diagonal."""
    matrix = train.matrix()
    gram = np.asarray((matrix.T @ matrix).todense(), np.float64)
    gram[np.diag_indices_from(gram)] += regularisation
    inverse = linalg.cho_solve(linalg.cho_factor(gram), np.eye(len(gram)))
    weights = -inverse / inverse.diagonal()[None, :]
    np.fill_diagonal(weights, 0.0)
    return weights.astype(np.float32)


def evaluate(
    history: Interactions, target: np.ndarray, query: sparse.csr_matrix, weights: np.ndarray
) -> dict[str, float]:
    """Ranks all items for every user and looks the targets up.

    Args:
        history: What users did before; these items are excluded.
        target: [users] int64, what they did next.
        query: [users, items], the history as the model reads it.
        weights: [items, items]; scores are `query @ weights`.

    Returns:
        hr@10, hr@50, hr@100, ndcg@10, mrr (of the first 100) and coverage@10.
        Equal scores rank in the order of items.
    """
    ranks = np.empty(history.users, np.int64)
    seen = history.matrix()
    recommended: set[int] = set()
    for first in range(0, history.users, _USERS_AT_ONCE):
        rows = slice(first, min(first + _USERS_AT_ONCE, history.users))
        scores = np.asarray(query[rows] @ weights)  # [B, items]
        user, item = seen[rows].nonzero()
        scores[user, item] = -np.inf
        wanted = target[rows, None]
        score = np.take_along_axis(scores, wanted, axis=1)  # [B, 1]
        before = (scores > score) | ((scores == score) & (np.arange(scores.shape[1]) < wanted))
        ranks[rows] = np.count_nonzero(before, axis=1)
        best = np.argpartition(-scores, 10, axis=1)[:, :10]
        recommended.update(np.unique(best).tolist())
    ranks[seen[np.arange(history.users), target].A1 > 0] = np.iinfo(np.int64).max // 2
    return _metrics(ranks) | {"coverage@10": len(recommended) / len(history.names)}


def baselines() -> dict[str, Callable[[Interactions], dict[str, float]]]:
    """Returns the baselines by name; each takes all sequences and returns its test metrics."""

    def whole(fit: Callable[[Interactions], np.ndarray]) -> Callable[..., dict[str, float]]:
        return lambda data: _run(data, fit, None, 1.0)

    def recent(fit: Callable[[Interactions], np.ndarray]) -> Callable[..., dict[str, float]]:
        return lambda data: _run(data, fit, NEWEST, DECAY)

    return {
        "popularity": whole(popularity),
        "item_cosine": whole(item_cosine),
        "item_cosine_recent": recent(item_cosine),
        "ease": whole(lambda train: ease(train, EASE_LAMBDA)),
        "ease_recent": recent(lambda train: ease(train, EASE_RECENT_LAMBDA)),
    }


def _run(
    data: Interactions,
    fit: Callable[[Interactions], np.ndarray],
    newest: int | None,
    decay: float,
) -> dict[str, float]:
    """Fits on the training part and evaluates on the last items."""
    history = data.without_last(1)
    return evaluate(history, data.last(), history.matrix(newest, decay), fit(data.without_last(2)))


def _metrics(ranks: np.ndarray) -> dict[str, float]:
    """Returns the means for targets at these places, from 0."""
    place = ranks.astype(np.float64)
    found = {f"hr@{k}": float(np.mean(ranks < k)) for k in (10, 50, 100)}
    found["ndcg@10"] = float(np.mean(np.where(ranks < 10, 1.0 / np.log2(place + 2.0), 0.0)))
    found["mrr"] = float(np.mean(np.where(ranks < _LONGEST, 1.0 / (place + 1.0), 0.0)))
    return found


def main(log_dir: str) -> None:
    """Prints the table of an event log."""
    data = read_interactions(Path(log_dir))
    print(f"{data.users:,} users, {len(data.names):,} items, {len(data.items):,} events")
    for name, run in baselines().items():
        values = run(data)
        print(f"{name:<20}" + "  ".join(f"{key} {value:.4f}" for key, value in values.items()))


if __name__ == "__main__":
    main(sys.argv[1])
