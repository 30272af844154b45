"""Counts the neighbours of a few entities, straight from the formula of `CountingConfig`.

It shares the reading of timelines with the Beam job and none of its sums: here a pair is
found from the entity whose list is counted, and nothing is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from serving.sources.config import CountingConfig
from tfx_pipeline.components.neighbour_builder.entities import Entities
from tfx_pipeline.components.neighbour_builder.timelines import UserEvents
from tfx_pipeline.components.neighbour_builder.timelines import read_users

_UNIT = 2.0**-20  # what an occurrence of a pair is rounded to, by definition of the lists
_DAY = 86_400_000_000  # microseconds
_WAITING = 1 << 22  # pairs that are added up in one go


class Recount(NamedTuple):
    """What was counted again: lists of S of N entities.

    Attributes:
        sums: [S, N] float64, F of `CountingConfig`, with sorted columns; of entities that
            may not be a neighbour it has none.
        events: [N] int64, counted events of each entity.
        unknown_events: Counted events of other entities.
        rounding: How far the sums of lists may be from these: in each file what comes before
            an entity is rounded once more.
    """

    sums: sparse.csr_array
    events: np.ndarray
    unknown_events: int
    rounding: float


def recount(
    files: Sequence[str], entities: Entities, sample: np.ndarray, config: CountingConfig
) -> Recount:
    """Counts in one pass over the files; ages of pairs need the newest time first, a second one.

    Memory holds the entities, a batch of timelines and the different pairs of the sample.

    Args:
        files: TFRecord files of raw training timelines.
        entities: The N entities by name.
        sample: [S] int64, rows of those whose neighbours are counted.
        config: What is counted.
    """
    newest = 0
    if config.half_life_days is not None:
        newest = max(int(e.time.max(initial=0)) for file in files for e in read_users(file, config))
    total = len(entities.names)
    counter = _Counter(config, newest, sample, total)
    events = np.zeros(total + 1, np.int64)  # the last are those without a row
    for file in files:
        for users in read_users(file, config):
            rows = entities.rows(users.entity)
            np.add.at(events, rows, 1)
            counter.add(users, rows)
    sums = counter.total() @ sparse.diags_array(
        entities.of_types(config.candidate_types).astype(np.float64)
    )
    sums.eliminate_zeros()
    sums.sort_indices()
    return Recount(sums, events[:-1], int(events[-1]), len(files) * _UNIT / 2)


class _Counter:
    """Adds up the pairs of the sample, as numbers of `_UNIT`: exact whatever their order."""

    def __init__(self, config: CountingConfig, newest: int, sample: np.ndarray, total: int) -> None:
        self._config = config
        self._newest = newest
        self._numbers = np.full(total + 1, -1)  # of the sample, by row; -1 is any other
        self._numbers[sample] = np.arange(len(sample))
        shape = (len(sample), total)
        self._later, self._earlier, self._together = _Sum(shape), _Sum(shape), _Sum(shape)

    def add(self, users: UserEvents, rows: np.ndarray) -> None:
        """Counts the pairs of whole users that have an entity of the sample."""
        concerned = np.isin(users.user, users.user[self._numbers[rows] >= 0])
        columns = {"user": users.user, "row": rows, "time": users.time}
        events = pd.DataFrame(columns)[concerned]
        config = self._config
        for gap in range(1, config.window + 1):
            weight = gap**-config.gap_power
            self._add(self._later, events, gap, weight)
            self._add(self._earlier, events, -gap, weight)
        if config.cooccurrence and len(events):
            last = events.drop_duplicates(["user", "row"], keep="last")
            last = last.groupby("user").tail(config.cooccurrence_events)
            for gap in range(1, int(last.groupby("user").size().max())):
                self._add(self._together, last, gap, config.cooccurrence)
                self._add(self._together, last, -gap, config.cooccurrence)

    def total(self) -> sparse.csr_array:
        """Returns [S, N] float64, F of `CountingConfig`."""
        earlier = self._config.backwards * self._earlier.total()
        return _UNIT * (self._later.total() + earlier + self._together.total())

    def _add(self, sums: _Sum, events: pd.DataFrame, gap: int, weight: float) -> None:
        """Counts what comes `gap` events after each event of the sample, or before it."""
        user, row, time = (events[name].to_numpy() for name in ("user", "row", "time"))
        number = self._numbers[row]
        at = np.flatnonzero(number >= 0)
        at = at[(at + gap >= 0) & (at + gap < len(row))]
        at = at[(user[at] == user[at + gap]) & (row[at + gap] >= 0)]
        age = np.zeros(len(at))
        if self._config.half_life_days is not None:
            later = time[np.maximum(at, at + gap)]
            age = (self._newest - later) / (self._config.half_life_days * _DAY)
        sums.add(number[at], row[at + gap], np.rint(weight / _UNIT * np.exp2(-age)))


class _Sum:
    """A sparse matrix that is added to; memory holds different entries, and some that wait."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._sum = sparse.csr_array(shape)
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._waiting = 0

    def add(self, number: np.ndarray, row: np.ndarray, weight: np.ndarray) -> None:
        self._parts.append((number, row, weight))
        self._waiting += len(row)
        if self._waiting > _WAITING:
            self.total()

    def total(self) -> sparse.csr_array:
        if self._parts:
            number, row, weight = map(np.concatenate, zip(*self._parts, strict=True))
            # Repeated entries of coordinates are added up.
            self._sum += sparse.coo_array((weight, (number, row)), self._sum.shape).tocsr()
            self._parts, self._waiting = [], 0
        return self._sum
