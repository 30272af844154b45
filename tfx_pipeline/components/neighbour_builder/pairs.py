"""Sums over pairs of one user's events, in NumPy and in whole numbers.

A sum of fixed-point numbers does not depend on the order of its terms, so that neither
workers nor bundles change a byte of the result.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from serving.sources.config import CountingConfig

SCALE = 1 << 20  # of fixed-point weights
_DAY = 86_400_000_000  # microseconds
_WAITING = 1 << 24  # pairs that are added up in one go
_LOW = 0xFFFFFFFF


class Events(NamedTuple):
    """Events of whole users, oldest first within each.

    Attributes:
        user: [E] int64, ascending numbers of users.
        row: [E] int64, rows of the dictionary of entities.
        time: [E] int64, microseconds.
    """

    user: np.ndarray
    row: np.ndarray
    time: np.ndarray


class Pairs(NamedTuple):
    """Sums by pair, each pair once, ascending.

    Attributes:
        key: [P] int64, `from << 32 | to`.
        weight: [P] int64, fixed point.
    """

    key: np.ndarray
    weight: np.ndarray

    @property
    def source(self) -> np.ndarray:
        """[P] int64, rows that have neighbours."""
        return self.key >> 32

    @property
    def target(self) -> np.ndarray:
        """[P] int64, rows that are neighbours."""
        return self.key & _LOW


def add_up(key: np.ndarray, weight: np.ndarray) -> Pairs:
    """Sums weights [n] int64 by their keys [n] int64."""
    if not len(key):
        return Pairs(key, weight)
    order = np.argsort(key, kind="stable")  # quick where sorted parts follow each other
    key, weight = key[order], weight[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    return Pairs(key[starts], np.add.reduceat(weight, starts))


class PairCounter:
    """Adds pairs up, user by user.

    Args:
        config: Which pairs count, and how much.
        newest: The newest event of training, microseconds; pairs age from there.
    """

    def __init__(self, config: CountingConfig, newest: int) -> None:
        self._config = config
        self._newest = newest
        self._following = _Sum()  # a then b, in the order of the events
        self._together = _Sum()  # one key for both orders, the smaller row first

    def add(self, events: Events) -> None:
        """Counts the pairs of whole users."""
        config = self._config
        for gap in range(1, config.window + 1):
            first, second = _apart(events, gap)
            weight = self._weight(float(gap) ** -config.gap_power, events.time[second])
            self._following.add(events.row[first] << 32 | events.row[second], weight)
        if not config.cooccurrence:
            return
        newest = newest_distinct(events, config.cooccurrence_events)
        longest = int(np.bincount(newest.user - newest.user[:1]).max(initial=0))
        for gap in range(1, longest):
            first, second = _apart(newest, gap)
            one, other = newest.row[first], newest.row[second]
            key = np.minimum(one, other) << 32 | np.maximum(one, other)
            self._together.add(key, self._weight(config.cooccurrence, newest.time[second]))

    def total(self) -> Pairs:
        """Returns F of `CountingConfig` for all pairs, both directions."""
        following, together = self._following.total(), self._together.total()
        back = np.rint(following.weight * self._config.backwards).astype(np.int64)
        keys = [following.key, _turned(following), together.key, _turned(together)]
        weights = [following.weight, back, together.weight, together.weight]
        both = add_up(np.concatenate(keys), np.concatenate(weights))
        some = both.weight > 0
        return Pairs(both.key[some], both.weight[some])

    def _weight(self, weight: float, time: np.ndarray) -> np.ndarray:
        """Returns [n] int64, a weight at some times in fixed point."""
        half_life = self._config.half_life_days
        if half_life is None:
            return np.full(len(time), round(SCALE * weight))
        age = (self._newest - time) / (half_life * _DAY)
        return np.rint(SCALE * weight * np.exp2(-age)).astype(np.int64)


class _Sum:
    """Pairs that are added up now and then, so that memory holds different ones alone."""

    def __init__(self) -> None:
        self._parts: list[Pairs] = []
        self._waiting = 0

    def add(self, key: np.ndarray, weight: np.ndarray) -> None:
        self._parts.append(Pairs(key, weight))
        self._waiting += len(key)
        if self._waiting > _WAITING:
            self._parts = [self.total()]
            self._waiting = 0

    def total(self) -> Pairs:
        if not self._parts:
            return Pairs(np.empty(0, np.int64), np.empty(0, np.int64))
        return add_up(*map(np.concatenate, zip(*self._parts, strict=True)))


def newest_distinct(events: Events, most: int) -> Events:
    """Keeps the last event of each user with each entity, the newest `most` of a user."""
    key = events.user << 32 | events.row
    _, from_end = np.unique(key[::-1], return_index=True)
    last = np.sort(len(key) - 1 - from_end)
    user = events.user[last]
    end = np.searchsorted(user, user, side="right")
    last = last[end - np.arange(len(user)) <= most]
    return Events(*(column[last] for column in events))


def keep_partners(pairs: Pairs, events: np.ndarray, damping: float, most: int) -> Pairs:
    """Keeps the `most` partners of each source that have the highest damped weight.

    Args:
        pairs: Pairs, ascending.
        events: [N] int64, counted events of each entity.
        damping: See `CountingConfig`.
        most: How many.
    """
    counts = np.bincount(pairs.source, minlength=1)
    if counts.max() <= most:
        return pairs
    kept = np.sort(best_of_each(pairs.source, damped(pairs, events, damping), most))
    return Pairs(pairs.key[kept], pairs.weight[kept])


def damped(pairs: Pairs, events: np.ndarray, damping: float) -> np.ndarray:
    """Returns [P] float64, the weights of `CountingConfig`."""
    root = np.sqrt(events + damping)
    return pairs.weight / SCALE / (root[pairs.source] * root[pairs.target])


def best_of_each(source: np.ndarray, weight: np.ndarray, most: int) -> np.ndarray:
    """Returns where the best `most` of each source are, by source and the best first.

    Args:
        source: [P] int64, ascending.
        weight: [P] float64; of equal ones the first is better.
        most: How many of each.
    """
    order = np.argsort(-weight, kind="stable")
    order = order[np.argsort(source[order], kind="stable")]
    rank = np.arange(len(order)) - np.searchsorted(source, source)
    return order[rank < most]


def _apart(events: Events, gap: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns where pairs of one user's events are that have `gap` between them: [p], [p]."""
    first = np.flatnonzero(events.user[gap:] == events.user[:-gap])
    return first, first + gap


def _turned(pairs: Pairs) -> np.ndarray:
    """Returns [P] int64, the keys of the other direction."""
    turned: np.ndarray = pairs.target << 32 | pairs.source
    return turned
