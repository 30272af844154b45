"""The unit in which an event log is read."""

from __future__ import annotations

from typing import NamedTuple


class Piece(NamedTuple):
    """Consecutive row groups of one file: the unit of reading.

    Attributes:
        table: `events`, `catalogue`, `users`, or `features.<name>`.
        path: The Parquet file.
        first_group: Its first row group.
        last_group: One behind the last row group.
        first_row: Rows of the same table before this piece, in all files.
        first_row_of_file: Rows of the same file before this piece.
        number: Number of this piece among those of its table.
        name: The file's path below the log's directory.
    """

    table: str
    path: str
    first_group: int
    last_group: int
    first_row: int
    first_row_of_file: int
    number: int
    name: str = ""
