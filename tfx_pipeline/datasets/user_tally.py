"""Counts the events of users and finds repeated rows, in bounded memory."""

from __future__ import annotations

import tempfile
from types import TracebackType

import numpy as np

from tfx_pipeline.datasets.problem import SAMPLES

_BUCKETS = 64
_IN_MEMORY_BYTES = 1 << 20  # of a bucket; more goes to a temporary file


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
        duplicates: Rows that repeat an earlier one.
        duplicate_rows: Row numbers of a few of them.
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

    def add(
        self, users: np.ndarray, rows: np.ndarray, numbers: np.ndarray, counts: np.ndarray
    ) -> None:
        """Adds rows.

        Args:
            users: Hash of each row's user, [n] uint64.
            rows: Hash of each row, [n] uint64; equal rows have the same user.
            numbers: Number of each row in its table, [n] int64.
            counts: Whether the row counts as one of the user's events, [n] bool.
        """
        self.events += len(users)
        flagged = numbers.astype(np.uint64) << np.uint64(1) | counts.astype(np.uint64)
        records = np.stack([users, rows, flagged], axis=1)
        bucket = (users >> np.uint64(58)).astype(np.int64)
        order = np.argsort(bucket, kind="stable")
        ends = np.searchsorted(bucket[order], np.arange(_BUCKETS + 1))
        records = records[order]
        for index in np.unique(bucket):
            self._buckets[index].write(records[ends[index] : ends[index + 1]].tobytes())

    def finish(self) -> None:
        """Counts everything that was added."""
        for bucket in self._buckets:
            bucket.seek(0)
            records = np.frombuffer(bucket.read(), np.uint64).reshape(-1, 3)
            if len(records):
                self._count(records)
        self.heavy.sort(key=lambda row_and_count: (-row_and_count[1], row_and_count[0]))

    def _count(self, records: np.ndarray) -> None:
        numbers = (records[:, 2] >> np.uint64(1)).astype(np.int64)
        counts = records[:, 2] & np.uint64(1)
        _, first, index = np.unique(records[:, 0], return_index=True, return_inverse=True)
        events = np.bincount(index, weights=counts).astype(np.int64)
        self.users += len(first)
        single = np.flatnonzero(events <= 1)
        self.single += len(single)
        self._keep(self.single_rows, numbers[first[single]])
        heavy = np.flatnonzero(events >= self._heavy_events)
        self.heavy += [(int(numbers[first[i]]), int(events[i])) for i in heavy]
        order = np.argsort(records[:, 1], kind="stable")
        ordered = records[order, 1]
        again = order[np.flatnonzero(ordered[1:] == ordered[:-1]) + 1]
        self.duplicates += len(again)
        self._keep(self.duplicate_rows, numbers[again])

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
