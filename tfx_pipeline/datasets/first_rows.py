"""The first row of each key in a stream of rows, in memory that follows the keys."""

from __future__ import annotations

import numpy as np

from transforms.arrow import pa

_LEAST = 500_000  # rows that are gathered before they are thinned out


class FirstRows:
    """Keeps the first row of each key, in the order of the rows.

    Args:
        key: Name of the column of keys.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._pieces: list[pa.Table] = []
        self._kept = 0

    def add(self, rows: pa.Table) -> None:
        """Takes the next rows of the stream; every call has the same columns."""
        self._pieces.append(self._first(rows))
        if sum(piece.num_rows for piece in self._pieces) > 2 * max(self._kept, _LEAST):
            self.table()

    def table(self) -> pa.Table:
        """Returns the first row of each key so far."""
        merged = self._first(pa.concat_tables(self._pieces))
        self._pieces, self._kept = [merged], merged.num_rows
        return merged

    def _first(self, rows: pa.Table) -> pa.Table:
        if not rows.num_rows:
            return rows
        keys = rows.column(self._key).combine_chunks()
        return rows.take(pa.array(first_rows(keys)))


def first_rows(keys: pa.Array) -> np.ndarray:
    """Returns the first row of each key [n], in the order of the rows, [m] int64."""
    codes = keys.dictionary_encode().indices.to_numpy()
    return np.sort(np.unique(codes, return_index=True)[1])
