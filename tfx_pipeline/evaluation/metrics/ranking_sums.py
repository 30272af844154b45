"""Sums over users from which ranking metrics follow; NumPy alone.

With the recommended list of a user u, r(u, t) the rank (from 0) of a target t
in it, T(u) the number of different targets of u, and h(u) = the number of
targets with r(u, t) < k:

    HR@k     = mean over u of [h(u) > 0]
    Recall@k = mean over u of h(u) / min(k, T(u))
    NDCG@k   = mean over u of sum_{t: r < k} 1 / log2(r(u, t) + 2)
               / sum_{i < min(k, T(u))} 1 / log2(i + 2)
    MRR@k    = mean over u of 1 / (1 + min_{t: r < k} r(u, t))

A target that is not in the list has no rank: it adds 0, and its user counts.
Users without targets are in no mean. (Jarvelin and Kekalainen, Cumulated
gain-based evaluation of IR techniques, ACM TOIS 2002, with gains 0 and 1.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields
from itertools import chain
from typing import NamedTuple

import numpy as np


class Outcome(NamedTuple):
    """Ranks of one user's targets.

    Attributes:
        ranks: Ranks, from 0 and ascending, of the targets in the list.
        targets: Number of different targets, found or not.
        repeats: Number of those targets that the user's history has already.
    """

    ranks: tuple[int, ...]
    targets: int
    repeats: int


@dataclass
class RankingSums:
    """Sums over users at one k; a field that is a sum of a metric is named like it.

    Attributes:
        k: Length of the list that counts; None for the whole list.
        users: Users with targets.
        without_target: Users without.
        targets: Different targets of all users.
        repeats: Those that were in their user's history.
        hr: Users with a target among the first k.
        recall: Sum of Recall@k.
        ndcg: Sum of NDCG@k.
        mrr: Sum of reciprocal ranks among the first k.
    """

    k: int | None = None
    users: int = 0
    without_target: int = 0
    targets: int = 0
    repeats: int = 0
    hr: float = 0.0
    recall: float = 0.0
    ndcg: float = 0.0
    mrr: float = 0.0

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Adds a batch of users."""
        with_target = [outcome for outcome in outcomes if outcome.targets]
        self.without_target += len(outcomes) - len(with_target)
        if not with_target:
            return
        users = len(with_target)
        targets = np.array([outcome.targets for outcome in with_target])  # [n]
        found = np.array([len(outcome.ranks) for outcome in with_target])  # [n]
        ranks = np.fromiter(
            chain.from_iterable(outcome.ranks for outcome in with_target), np.int64, found.sum()
        )
        user = np.repeat(np.arange(users), found)
        longest = int(targets.max())
        if self.k is not None:
            user, ranks = user[ranks < self.k], ranks[ranks < self.k]
            longest = min(longest, self.k)
        ideal = np.cumsum(_discount(np.arange(longest)))
        possible = np.minimum(targets, longest)  # [n], min(k, T)
        hits = np.bincount(user, minlength=users)
        gain = np.bincount(user, _discount(ranks), minlength=users)
        best = np.full(users, np.inf)
        np.minimum.at(best, user, ranks)

        self.users += users
        self.targets += int(targets.sum())
        self.repeats += sum(outcome.repeats for outcome in with_target)
        self.hr += float(np.count_nonzero(hits))
        self.recall += float(np.sum(hits / possible))
        self.ndcg += float(np.sum(gain / ideal[possible - 1]))
        self.mrr += float(np.sum(1.0 / (1.0 + best)))

    def merge(self, other: RankingSums) -> None:
        """Adds the sums over other users at the same k."""
        for name in (field.name for field in fields(self) if field.name != "k"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def mean(self, name: str) -> float:
        """Returns a sum divided by the users; NaN without users."""
        return float(getattr(self, name)) / self.users if self.users else float("nan")

    def repeat_share(self) -> float:
        """Returns the share of targets that their user's history has; NaN without targets."""
        return self.repeats / self.targets if self.targets else float("nan")


def _discount(ranks: np.ndarray) -> np.ndarray:
    """Returns [n] float64, what a hit at each rank (from 0) is worth."""
    return 1.0 / np.log2(ranks + 2.0)
