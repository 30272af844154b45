"""Rows that cannot be used: kept with their reason, counted, and stopped at a threshold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfx_pipeline.datasets.columns import invalid_utf8
from tfx_pipeline.datasets.convert import is_text
from tfx_pipeline.datasets.file_parts import FilePart
from tfx_pipeline.datasets.rules import excess
from transforms.arrow import pa
from transforms.arrow import parquet_file
from transforms.arrow import pc

DIRECTORY = "dead_letter"

_ORIGINAL = {  # columns of the first step -> columns of the log
    "user": "user_id",
    "event": "event",
    "timestamp": "timestamp",
    "ordinal": "ordinal",
    "page": "page_id",
    "position": "position",
    "query": "query",
    "value": "value",
    "attributes": "attributes",
    "vector": "vector",
    "tokens": "tokens",
}


class TooManyDeadLetters(ValueError):
    """More rows are bad than the configuration allows.

    Attributes:
        directory: Where the rows are.
    """

    def __init__(self, message: str, directory: str) -> None:
        """Takes what to say and where the rows are."""
        super().__init__(message)
        self.directory = directory


class Origin:
    """Finds the file of a row by its number in the whole table."""

    def __init__(self, file_parts: Sequence[FilePart]) -> None:
        """Takes all parts of one table, in order."""
        self._table = file_parts[0].table if file_parts else ""
        self._first = np.array([file_part.first_row for file_part in file_parts], np.int64)
        self._in_file = np.array(
            [file_part.first_row_of_file for file_part in file_parts], np.int64
        )
        self._names = [file_part.name for file_part in file_parts]

    def letters(self, rows: pa.Table, reason: str) -> pa.Table:
        """Returns rows that were found bad only beside others as dead letters.

        Args:
            rows: Rows as the first step returns them.
            reason: What is wrong with all of them.
        """
        columns = {
            name: as_text(rows.column(short))
            for short, name in _ORIGINAL.items()
            if short in rows.column_names
        }
        if "entity" in rows.column_names:
            parts = [name.partition(":") for name in as_text(rows.column("entity")).to_pylist()]
            columns["entity_type"] = pa.array([part[0] for part in parts], pa.string())
            columns["entity_id"] = pa.array([part[2] for part in parts], pa.string())
        row = np.asarray(rows.column("row"))
        file_part = np.searchsorted(self._first, row, side="right") - 1
        files = [self._names[number] for number in file_part]
        in_file = row - self._first[file_part] + self._in_file[file_part]
        return label(columns, self._table, [reason] * len(row), files, in_file)


def dead_letters(file_part: FilePart, rows: np.ndarray, reasons: Sequence[str]) -> pa.Table:
    """Reads bad rows again, with every column that the file has.

    Args:
        file_part: The part that holds them.
        rows: [n] row numbers within the part.
        reasons: The reason of each.

    Returns:
        The rows with all columns as strings, and `table`, `file`, `row` (its
        number in the file) and `reason`.
    """
    with parquet_file(file_part.path) as file:
        whole = file.read_row_groups(list(range(file_part.first_group, file_part.last_group)))
    taken = whole.take(pa.array(rows))
    columns = {name: as_text(taken.column(name)) for name in taken.column_names}
    files = [file_part.name] * len(rows)
    return label(columns, file_part.table, reasons, files, file_part.first_row_of_file + rows)


def letters_of(
    file_part: FilePart, first: int, rows: pa.RecordBatch, bad: np.ndarray, reasons: Sequence[str]
) -> pa.Table:
    """Returns bad rows of a batch that is at hand, with the columns that were read.

    Args:
        file_part: The part that holds them.
        first: Number of the batch's first row within the part.
        rows: The batch.
        bad: [n] row numbers within the batch.
        reasons: The reason of each.

    Returns:
        As `dead_letters`.
    """
    taken = pa.Table.from_batches([rows]).take(pa.array(bad))
    columns = {name: as_text(taken.column(name)) for name in taken.column_names}
    files = [file_part.name] * len(bad)
    return label(
        columns, file_part.table, reasons, files, file_part.first_row_of_file + first + bad
    )


def label(
    columns: Mapping[str, pa.Array],
    table: str,
    reasons: Sequence[str],
    files: Sequence[str],
    rows: np.ndarray,
) -> pa.Table:
    """Returns rows of texts with where they are from and what is wrong with them."""
    return pa.table(
        {
            **columns,
            "table": pa.array([table] * len(reasons), pa.string()),
            "file": pa.array(files, pa.string()),
            "row": pa.array(rows, pa.int64()),
            "reason": pa.array(reasons, pa.string()),
        }
    )


def as_text(column: pa.ChunkedArray) -> pa.Array:
    """Returns a column of any type as strings; what is not UTF-8 is escaped."""
    array = column.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if is_text(array.type):
        array = array.cast(pa.binary())
        if invalid_utf8(array) is None:
            return array.cast(pa.string())
    elif not (pa.types.is_nested(array.type) or pa.types.is_fixed_size_list(array.type)):
        return array.cast(pa.string())
    return pa.array([_text(value) for value in _values(array)], pa.string())


def count_by_reason(table: pa.Table) -> dict[str, int]:
    """Returns how many rows each reason took, under report keys."""
    counts: dict[str, int] = {}
    for name, reason in zip(
        table.column("table").to_pylist(), table.column("reason").to_pylist(), strict=True
    ):
        key = f"dead_letters/{name}/{reason}"
        counts[key] = counts.get(key, 0) + 1
    return counts


def check_threshold(report: Mapping[str, Any], most: float, directory: str) -> None:
    """Fails when too large a share of a table is bad.

    Args:
        report: The report of a generation, with `rows` and `dead_letters`.
        most: Largest share of a table that may be bad.
        directory: Where the dead letters are, for the message.

    Raises:
        TooManyDeadLetters: It names the table, the share, the top reasons and the directory.
    """
    told = excess(report.get("dead_letters", {}), report["rows"], most)
    if told:
        raise TooManyDeadLetters(
            f"{told} The rows are in {directory}, each with its reason, file and row number. Mend "
            "the source, or raise the threshold.",
            directory,
        )


def concat(tables: Sequence[pa.Table]) -> pa.Table:
    """Joins tables of texts whose columns may differ, in a fixed order of columns."""
    names = sorted({name for table in tables for name in table.column_names})
    schema = pa.schema([(name, pa.int64() if name == "row" else pa.string()) for name in names])
    aligned = []
    for table in tables:
        missing = [name for name in names if name not in table.column_names]
        for name in missing:
            table = table.append_column(name, pa.nulls(table.num_rows, schema.field(name).type))
        aligned.append(table.select(names).cast(schema))
    joined = pa.concat_tables(aligned)
    order = pc.sort_indices(
        joined, [("table", "ascending"), ("file", "ascending"), ("row", "ascending")]
    )
    return joined.take(order)


def _values(array: pa.Array) -> list[Any]:
    try:
        return array.to_pylist()
    except UnicodeDecodeError:
        return [repr(array.slice(i, 1)) for i in range(len(array))]


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return json.dumps(value, default=_text, ensure_ascii=False)
