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
        self._pieces.append(_first_of_each(rows, self._key))
        if sum(piece.num_rows for piece in self._pieces) > 2 * max(self._kept, _LEAST):
            self.table()

    def table(self) -> pa.Table:
        """Returns the first row of each key so far."""
        merged = _first_of_each(pa.concat_tables(self._pieces), self._key)
        self._pieces, self._kept = [merged], merged.num_rows
        return merged


def _first_of_each(rows: pa.Table, key: str) -> pa.Table:
    keys = rows.column(key).combine_chunks()
    if isinstance(keys, pa.ChunkedArray):  # of a table without rows
        return rows
    codes = keys.dictionary_encode().indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    return rows.take(pa.array(np.sort(first)))
