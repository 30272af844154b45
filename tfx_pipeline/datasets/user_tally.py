"""Counts the events of users and finds repeated rows, in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple

import numpy as np

from tfx_pipeline.datasets.problem import SAMPLES

_BUCKETS = 64
_IN_MEMORY_BYTES = 1 << 20  # of a bucket; more goes to a temporary file
_COUNTS, _TARGET = np.uint64(1), np.uint64(2)


class Held(NamedTuple):
    """Rule of the users that a split holds events out of; see `TimelineConfig`.

    Attributes:
        min_targets: Users with fewer events that may be targets are in training
            alone, for `leave-last-out`; 0 for other splits.
        min_history: Users need so many events before a cut, for other splits.
        validation_start: Microseconds, for `time-cut`.
        test_start: Microseconds, likewise.
        shares: Shares of each user's rows for validation and test, for `leave-share-out`.
    """

    min_targets: int
    min_history: int = 0
    validation_start: int = 0
    test_start: int = 0
    shares: tuple[float, float] | None = None


class UserTally:
    """Counts users' events and repeated rows by their hashes.

    Rows are spread over buckets by their user, on disk when they are many, and
    looked at one bucket after another. After `finish`:

    Attributes:
        events: Rows seen.
        users: Distinct users.
        single: Users with at most one row that counts.
        single_rows: Row numbers of a few of them.
        heavy: (row number, rows that count) of each user with very many.
        duplicates: Rows that repeat an earlier event, its ordinal included.
        duplicate_rows: Row numbers of a few of them.
        repeats: Other rows that repeat an earlier one in all but the ordinal.
        repeat_rows: Row numbers of a few of them.
        held: (validation users, test users) of each split asked for.
    """

    def __init__(self, heavy_events: int) -> None:
        """Starts an empty tally.

        Args:
            heavy_events: A user with so many rows that count is a heavy one.
        """
        self._heavy_events = heavy_events
        self._buckets = [
            tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) for _ in range(_BUCKETS)
        ]
        self.events = 0
        self.users = 0
        self.single = 0
        self.single_rows: list[int] = []
        self.heavy: list[tuple[int, int]] = []
        self.duplicates = 0
        self.duplicate_rows: list[int] = []
        self.repeats = 0
        self.repeat_rows: list[int] = []
        self.held: list[tuple[int, int]] = []

    def add(
        self,
        users: np.ndarray,
        times: np.ndarray,
        events: np.ndarray,
        positions: np.ndarray,
        numbers: np.ndarray,
        counts: np.ndarray,
        targets: np.ndarray,
    ) -> None:
        """Adds rows, in the order of the log.

        Args:
            users: Hash of each row's user, [n] uint64.
            times: Microseconds, [n] int64.
            events: Hash of user, event and ordinal, [n] uint64.
            positions: Hash of user, event and position on a page, [n] uint64.
            numbers: Number of each row in its table, [n] int64.
            counts: Whether the row counts as one of the user's events, [n] bool.
            targets: Whether it may be a target, [n] bool.
        """
        self.events += len(users)
        flags = counts.astype(np.uint64) * _COUNTS | targets.astype(np.uint64) * _TARGET
        flagged = numbers.astype(np.uint64) << np.uint64(2) | flags
        times = times.astype(np.int64, copy=False).view(np.uint64)
        records = np.stack([users, times, events, positions, flagged], axis=1)
        bucket = (users >> np.uint64(58)).astype(np.int64)
        order = np.argsort(bucket, kind="stable")
        ends = np.searchsorted(bucket[order], np.arange(_BUCKETS + 1))
        records = records[order]
        for index in np.unique(bucket):
            self._buckets[index].write(records[ends[index] : ends[index + 1]].tobytes())

    def finish(self, splits: Sequence[Held] = ()) -> None:
        """Counts everything that was added.

        Args:
            splits: Those whose held-out users are to be counted.
        """
        held = np.zeros((len(splits), 2), np.int64)
        for bucket in self._buckets:
            bucket.seek(0)
            records = np.frombuffer(bucket.read(), np.uint64).reshape(-1, 5)
            if len(records):
                held += self._count(records, splits)
        self.held = [(int(validation), int(test)) for validation, test in held]
        self.heavy.sort(key=lambda row_and_count: (-row_and_count[1], row_and_count[0]))

    def _count(self, records: np.ndarray, splits: Sequence[Held]) -> np.ndarray:
        numbers = (records[:, 4] >> np.uint64(2)).astype(np.int64)
        duplicate = _repeated(records[:, 2])
        self.duplicates += int(duplicate.sum())
        self._keep(self.duplicate_rows, numbers[duplicate])
        records, numbers = records[~duplicate], numbers[~duplicate]
        repeat = _repeated(records[:, 3])
        self.repeats += int(repeat.sum())
        self._keep(self.repeat_rows, numbers[repeat])
        counts, targets = ((records[:, 4] & flag) > 0 for flag in (_COUNTS, _TARGET))
        _, first, user = np.unique(records[:, 0], return_index=True, return_inverse=True)
        events = np.bincount(user, weights=counts).astype(np.int64)
        self.users += len(first)
        single = np.flatnonzero(events <= 1)
        self.single += len(single)
        self._keep(self.single_rows, numbers[first[single]])
        heavy = np.flatnonzero(events >= self._heavy_events)
        self.heavy += [(int(numbers[first[i]]), int(events[i])) for i in heavy]
        times = records[:, 1].view(np.int64)
        found = [_held(split, user, times, counts, targets, len(first)) for split in splits]
        return np.array(found, np.int64).reshape(-1, 2)

    @staticmethod
    def _keep(samples: list[int], numbers: np.ndarray) -> None:
        """Keeps the smallest few row numbers, whatever the order of buckets."""
        samples[:] = sorted([*samples, *np.sort(numbers)[:SAMPLES].tolist()])[:SAMPLES]

    def close(self) -> None:
        """Removes the temporary files."""
        for bucket in self._buckets:
            bucket.close()

    def __enter__(self) -> UserTally:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _repeated(hashes: np.ndarray) -> np.ndarray:
    """Returns which values [n] are not the first of their kind, [n] bool."""
    order = np.argsort(hashes, kind="stable")
    again = np.zeros(len(hashes), bool)
    again[order[1:]] = hashes[order][1:] == hashes[order][:-1]
    return again


def _held(
    split: Held,
    user: np.ndarray,
    times: np.ndarray,
    counts: np.ndarray,
    targets: np.ndarray,
    users: int,
) -> tuple[int, int]:
    """Counts the users that a split holds events out of, for validation and for test.

    Args:
        split: Says whom.
        user: The user of each row, [n] int64 below `users`.
        times: Microseconds, [n] int64.
        counts: Which rows are events of the user, [n] bool.
        targets: Which rows may be targets, [n] bool.
        users: How many users there are.
    """
    if split.min_targets:
        held = int((np.bincount(user[targets], minlength=users) >= split.min_targets).sum())
        return held, held
    if split.shares:
        order = np.lexsort((times, user))
        rows = np.bincount(user, minlength=users)
        number = np.empty(len(user), np.int64)  # from the end, among the user's rows
        number[order] = np.cumsum(rows)[user[order]] - 1 - np.arange(len(user))
        validation, test = (np.rint(rows * share).astype(np.int64) for share in split.shares)
        period = (number < (test + validation)[user]).astype(np.int64) + (number < test[user])
    else:
        period = (times >= split.validation_start).astype(np.int64) + (times >= split.test_start)
    found = []
    for one in (1, 2):
        history = np.bincount(user[counts & (period < one)], minlength=users)
        aimed = np.bincount(user[targets & (period == one)], minlength=users)
        found.append(int(((history >= split.min_history) & (aimed > 0)).sum()))
    return found[0], found[1]
