"""Counts of events: by item, and the share that repeats an item which its user had already."""

from __future__ import annotations

import numpy as np

from tfx_pipeline.datasets.row_hash import combine
from tfx_pipeline.datasets.row_hash import hash_ids
from transforms.arrow import pa

_NAME = ["entity_type", "entity_id"]
_COUNTS = [("events", "sum"), ("ordinal", "min"), ("timestamp", "min")]
_LEAST = 1_000_000  # rows that are gathered before they are summed
_MOST_PAIRS = 1_000_000


class ItemTally:
    """Counts events by item, in memory that follows the items.

    Attributes:
        events: Events counted.
    """

    def __init__(self) -> None:
        """Starts with none."""
        self.events = 0
        self._pieces: list[pa.Table] = []
        self._kept = 0

    def add(self, events: pa.Table) -> None:
        """Counts rows of the events table."""
        self.events += events.num_rows
        ones = pa.array(np.ones(events.num_rows, np.int64))
        rows = events.select([*_NAME, "ordinal", "timestamp"]).append_column("events", ones)
        self._pieces.append(_summed(rows))
        if sum(piece.num_rows for piece in self._pieces) > 2 * max(self._kept, _LEAST):
            self.table()

    def table(self) -> pa.Table:
        """Returns a row an item, in the order of their first events.

        Columns `entity_type` and `entity_id`, `events` (how many), `ordinal` and
        `timestamp` (of the first one).
        """
        if self._kept and len(self._pieces) == 1:  # nothing has come since
            return self._pieces[0]
        merged = _summed(pa.concat_tables(self._pieces)).sort_by("ordinal")
        self._pieces, self._kept = [merged], merged.num_rows
        return merged


class RepeatTally:
    """Counts repeats in bounded memory: pairs of user and item by hash, of many those of a sample.

    The users of a sample are those whose hash ends in `level` zeros, so every event of a
    user is counted or none.

    Attributes:
        level: The sample holds one user of 2^level.
    """

    def __init__(self, most: int = _MOST_PAIRS) -> None:
        """Takes the most pairs to hold."""
        self._most = most
        self.level = 0
        self._users = np.zeros(0, np.uint64)
        self._pairs = np.zeros(0, np.uint64)
        self._counts = np.zeros(0, np.int64)
        self._pending: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, users: pa.Array, items: pa.Array) -> None:
        """Counts events.

        Args:
            users: [n] string without nulls.
            items: [n] string without nulls, `type:id`.
        """
        user, item = _hashes(users), _hashes(items)
        kept = self._sampled(user)
        user, item = user[kept], item[kept]
        self._pending.append((user, combine(user.view(np.int64), item.view(np.int64))))
        if sum(len(rows) for rows, _ in self._pending) > self._most:
            self._merge()

    def share(self) -> float:
        """Returns the share of events that are not the first one of their user and item."""
        self._merge()
        events = int(self._counts.sum())
        return 1 - len(self._counts) / events if events else 0.0

    def _sampled(self, users: np.ndarray) -> np.ndarray:
        """Returns which users [n] are in the sample, [n] bool."""
        return users & np.uint64((1 << self.level) - 1) == 0

    def _merge(self) -> None:
        users = np.concatenate([self._users, *(rows for rows, _ in self._pending)])
        pairs = np.concatenate([self._pairs, *(rows for _, rows in self._pending)])
        new = len(pairs) - len(self._pairs)
        counts = np.concatenate([self._counts, np.ones(new, np.int64)])
        self._pending = []
        self._pairs, first, code = np.unique(pairs, return_index=True, return_inverse=True)
        self._users = users[first]
        self._counts = np.bincount(code, counts, len(first)).astype(np.int64)
        while len(self._pairs) > self._most:
            self.level += 1
            kept = self._sampled(self._users)
            self._users, self._pairs = self._users[kept], self._pairs[kept]
            self._counts = self._counts[kept]


def _summed(rows: pa.Table) -> pa.Table:
    grouped = rows.group_by(_NAME).aggregate(_COUNTS)
    counts = {column: grouped[f"{column}_{how}"] for column, how in _COUNTS}
    return pa.table({**counts, **{name: grouped[name] for name in _NAME}})


def _hashes(column: pa.Array) -> np.ndarray:
    """Hashes each distinct text once, [n] string -> [n] uint64."""
    encoded = column.dictionary_encode()
    return hash_ids(encoded.dictionary.cast(pa.binary()))[encoded.indices.to_numpy()]
