"""Baselines of retrieval in NumPy and SciPy, ranked over all items.

Each is fitted on the sequences without their last two items, and asked with
the sequences without their last one; items of the history are excluded unless
the settings say otherwise.

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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from benchmarks.interactions import Interactions
from benchmarks.interactions import read_interactions

NEWEST = 20
_USERS_AT_ONCE = 1024
LONGEST = 100

Label = str | int | float | bool
# Scores all items for histories: [B, items] sparse -> [B, items] float32.
Scorer = Callable[[sparse.csr_matrix], np.ndarray]


@dataclass(frozen=True)
class BaselineSettings:
    """Settings of a log's baselines; numbers are chosen on its validation items.

    Attributes:
        decay: Weight of an item over that of the next newer one (`*_recent`).
        ease_lambda: Regularisation of `ease`.
        ease_recent_lambda: Regularisation of `ease_recent`.
        ease_items: EASE knows so many of the most frequent items, for it inverts
            a dense matrix over them; 0 is all.
        exclude_seen: Whether items of the history are left out of the ranking.
        least_items: Users with fewer items are trained on and not asked.
    """

    decay: float = 0.8
    ease_lambda: float = 500.0
    ease_recent_lambda: float = 1000.0
    ease_items: int = 0
    exclude_seen: bool = True
    least_items: int = 3


@dataclass(frozen=True)
class Baseline:
    """One baseline.

    Attributes:
        parameters: What its figures depend on.
        fit: Makes a scorer of training sequences.
        newest: So many items of a history count; None counts all.
        decay: Weight of an item over that of the next newer one.
        exclude_seen: Whether items of the history are left out of the ranking.
        least_items: Users with fewer items are trained on and not asked.
    """

    parameters: dict[str, Label]
    fit: Callable[[Interactions], Scorer]
    newest: int | None = None
    decay: float = 1.0
    exclude_seen: bool = True
    least_items: int = 3

    def run(self, data: Interactions, last: int = 1) -> dict[str, float]:
        """Fits on the training part and looks held-out items up.

        Args:
            data: Whole sequences.
            last: 1 measures on the last items, 2 on those before, which are the
                validation's.
        """
        asked, others = data.divided(self.least_items)
        scorer = self.fit(asked.without_last(2).joined(others))
        history, target = asked.without_last(last), asked.without_last(last - 1).last()
        query = history.matrix(self.newest, self.decay)
        return evaluate(history, target, query, scorer, self.exclude_seen)


def baselines(settings: BaselineSettings) -> dict[str, Baseline]:
    """Returns the baselines by name."""
    common: dict[str, Label] = {}
    if not settings.exclude_seen:
        common["exclude_seen"] = False
    if settings.least_items != 3:
        common["least_items"] = settings.least_items
    recent: dict[str, Label] = {"newest": NEWEST, "decay": settings.decay, **common}
    limit: dict[str, Label] = {"items": settings.ease_items} if settings.ease_items else {}
    strength, recent_strength = settings.ease_lambda, settings.ease_recent_lambda

    def weak(train: Interactions) -> Scorer:
        return ease(train, strength, settings.ease_items)

    def strong(train: Interactions) -> Scorer:
        return ease(train, recent_strength, settings.ease_items)

    asked = (settings.exclude_seen, settings.least_items)
    whole, newest = (None, 1.0, *asked), (NEWEST, settings.decay, *asked)
    return {
        "popularity": Baseline(common, popularity, *whole),
        "item_cosine": Baseline(common, item_cosine, *whole),
        "item_cosine_recent": Baseline(recent, item_cosine, *newest),
        "ease": Baseline({"lambda": strength, **limit, **common}, weak, *whole),
        "ease_recent": Baseline({"lambda": recent_strength, **limit, **recent}, strong, *newest),
    }


def popularity(train: Interactions) -> Scorer:
    """Returns a scorer by the number of users of each item."""
    counts = np.asarray(train.matrix().sum(axis=0), np.float32)  # [1, items]
    return lambda query: np.repeat(counts, query.shape[0], axis=0)


def item_cosine(train: Interactions) -> Scorer:
    """Returns a scorer by the cosine between columns of the user-item matrix."""
    matrix = train.matrix()
    together = (matrix.T @ matrix).tocsr()
    norm = sparse.diags(1.0 / np.sqrt(np.maximum(together.diagonal(), 1.0)), dtype=np.float32)
    cosine = norm @ together @ norm
    return lambda query: (query @ cosine).toarray()


def ease(train: Interactions, regularisation: float, most: int = 0) -> Scorer:
    """Returns a scorer by EASE's item weights, whose diagonal is zero.

    Args:
        train: Sequences to fit on.
        regularisation: lambda.
        most: Only so many of the most frequent items have weights; all have when 0.
    """
    matrix = train.matrix().tocsc()
    number = matrix.shape[1]
    counts = np.asarray(matrix.sum(axis=0)).ravel()
    known = np.sort(np.argsort(-counts, kind="stable")[: most or number])
    matrix = matrix[:, known]
    gram = (matrix.T @ matrix).astype(np.float64).toarray(order="F")
    gram[np.diag_indices_from(gram)] += regularisation
    # In place: three dense matrices of a large catalogue would not fit into memory.
    factor, wrong = lapack.dpotrf(gram, lower=True, overwrite_a=True)
    inverse, wrong_too = lapack.dpotri(factor, lower=True, overwrite_c=True)
    if wrong or wrong_too:
        raise ValueError(f"lambda should make X'X + lambda I invertible, received {regularisation}")
    diagonal = inverse.diagonal().copy()
    weights = np.tril(inverse, -1).astype(np.float32)
    del gram, factor, inverse
    weights += weights.T
    weights /= -diagonal[None, :].astype(np.float32)

    def score(query: sparse.csr_matrix) -> np.ndarray:
        scores = np.zeros(query.shape, np.float32)
        scores[:, known] = query.tocsc()[:, known].tocsr() @ weights
        return scores

    return score


def evaluate(
    history: Interactions,
    target: np.ndarray,
    query: sparse.csr_matrix,
    scorer: Scorer,
    exclude_seen: bool = True,
) -> dict[str, float]:
    """Ranks all items for every user and looks the targets up.

    Args:
        history: What users did before.
        target: [users] int64, what they did next.
        query: [users, items], the history as the model reads it.
        scorer: The model.
        exclude_seen: Whether items of the history are left out of the ranking;
            a target among them is then a miss.

    Returns:
        hr@10, hr@50, hr@100, ndcg@10, mrr (of the first 100) and coverage@10.
        Equal scores rank in the order of items.
    """
    ranks = np.empty(history.users, np.int64)
    seen = history.matrix()
    recommended: set[int] = set()
    for first in range(0, history.users, _USERS_AT_ONCE):
        rows = slice(first, min(first + _USERS_AT_ONCE, history.users))
        scores = scorer(query[rows])  # [B, items]
        if exclude_seen:
            user, item = seen[rows].nonzero()
            scores[user, item] = -np.inf
        wanted = target[rows, None]
        score = np.take_along_axis(scores, wanted, axis=1)  # [B, 1]
        before = (scores > score) | ((scores == score) & (np.arange(scores.shape[1]) < wanted))
        ranks[rows] = np.count_nonzero(before, axis=1)
        best = np.argpartition(-scores, 10, axis=1)[:, :10]
        recommended.update(np.unique(best).tolist())
    if exclude_seen:
        ranks[seen[np.arange(history.users), target].A1 > 0] = np.iinfo(np.int64).max // 2
    return _metrics(ranks) | {"coverage@10": len(recommended) / len(history.names)}


def _metrics(ranks: np.ndarray) -> dict[str, float]:
    """Returns the means for targets at these places, from 0."""
    place = ranks.astype(np.float64)
    found = {f"hr@{k}": float(np.mean(ranks < k)) for k in (10, 50, 100)}
    found["ndcg@10"] = float(np.mean(np.where(ranks < 10, 1.0 / np.log2(place + 2.0), 0.0)))
    found["mrr"] = float(np.mean(np.where(ranks < LONGEST, 1.0 / (place + 1.0), 0.0)))
    return found


def main(log_dir: str) -> None:
    """Prints the table of an event log."""
    data = read_interactions(Path(log_dir))
    print(f"{data.users:,} users, {len(data.names):,} items, {len(data.items):,} events")
    for name, baseline in baselines(BaselineSettings()).items():
        values = baseline.run(data)
        print(f"{name:<20}" + "  ".join(f"{key} {value:.4f}" for key, value in values.items()))


if __name__ == "__main__":
    main(sys.argv[1])
