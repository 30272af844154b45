"""Columns of an event log as plain Arrow and NumPy arrays, whatever type they came in."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfx_pipeline.components.timeline_example_gen.piece import Piece
from tfx_pipeline.datasets.convert import converted
from tfx_pipeline.datasets.convert import converts
from tfx_pipeline.datasets.event_log import EVENTS
from tfx_pipeline.datasets.event_log import TABLES
from transforms.arrow import pa
from transforms.arrow import pc
from transforms.arrow import pq

ROWS_A_BATCH = 262_144


class Times(NamedTuple):
    """A column of times.

    Attributes:
        values: [n] int64, microseconds since the epoch; 0 where there is none.
        missing: [n] bool, where the column is null.
        unparsable: [n] bool, where it holds something that is no time.
    """

    values: np.ndarray
    missing: np.ndarray
    unparsable: np.ndarray


class Ragged(NamedTuple):
    """A column of lists.

    Attributes:
        values: The values of all rows, without nulls.
        offsets: [n + 1] int64, where each row's values start.
    """

    values: pa.Array
    offsets: np.ndarray


def check_schema(schema: pa.Schema, table: str, path: str) -> None:
    """Checks that a file has the columns of a table in types that can be read.

    Args:
        schema: The file's schema.
        table: `events`, `catalogue` or `users`.
        path: The file, for the message.

    Raises:
        ValueError: A required column is missing, or one has a wrong type.
    """
    for field in TABLES[table]:
        index = schema.get_field_index(field.name)
        if index < 0:
            if field.nullable:
                continue
            raise ValueError(
                f"`{path}` lacks the column `{field.name}` ({field.type}), which every row of "
                f"`{table}` needs; it has {schema.names}. Add or rename it."
            )
        received = schema.field(index).type
        if not converts(received, field):
            raise ValueError(
                f"`{path}` has the column `{field.name}` as {received}; expected {field.type}. "
                "Cast it where the log is written."
            )


def batches(piece: Piece, columns: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Reads a piece in batches of bounded size.

    Args:
        piece: What to read.
        columns: Names of columns; the ones that the file lacks are left out.

    Yields:
        Row number of the batch within the piece, and the batch.
    """
    with pq.ParquetFile(piece.path) as file:
        present = [name for name in columns if name in file.schema_arrow.names]
        groups = list(range(piece.first_group, piece.last_group))
        row = 0
        for batch in file.iter_batches(ROWS_A_BATCH, row_groups=groups, columns=present):
            yield row, batch
            row += batch.num_rows


def required(batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
    """Returns a column in the type of its field, text as binary that may not be UTF-8."""
    return _in_type(batch.column(batch.schema.get_field_index(field.name)), field)


def optional(batch: pa.RecordBatch, field: pa.Field) -> pa.Array | None:
    """Does the same, or returns None when the batch lacks the column or it is all null."""
    index = batch.schema.get_field_index(field.name)
    if index < 0 or batch.column(index).null_count == batch.num_rows:
        return None
    return _in_type(batch.column(index), field)


def times(batch: pa.RecordBatch, field: pa.Field) -> Times | None:
    """Returns a column of times; None when the batch lacks it or it is all null."""
    index = batch.schema.get_field_index(field.name)
    if index < 0 or batch.column(index).null_count == batch.num_rows:
        return None
    column = batch.column(index)
    values = converted(column, field)
    missing = np.asarray(column.is_null())
    return Times(np.asarray(values.fill_null(0)), missing, np.asarray(values.is_null()) & ~missing)


def read_timestamps(file: pq.ParquetFile, group: int) -> np.ndarray:
    """Returns the timestamps of a row group that are there and are times, as [n] int64."""
    column = file.read_row_group(group, columns=["timestamp"]).column(0)
    values = converted(pa.concat_arrays(column.chunks), EVENTS.field("timestamp"))
    return np.asarray(values.drop_null())


def invalid_utf8(array: pa.BinaryArray) -> np.ndarray | None:
    """Returns [n] bool, which values are not UTF-8; None when all are."""
    try:
        array.cast(pa.string())
        return None
    except pa.ArrowInvalid:
        return np.array([_invalid(value) for value in array.to_pylist()], bool)


def as_ragged(lists: pa.ListArray) -> Ragged:
    """Returns a column of lists, of which nulls count as empty; text as binary."""
    lengths = np.asarray(pc.list_value_length(lists).fill_null(0)).astype(np.int64)
    offsets = np.zeros(len(lists) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    values = lists.flatten()
    if values.null_count:
        kept = np.zeros(len(values) + 1, np.int64)
        np.cumsum(np.asarray(values.is_valid()), out=kept[1:])
        values, offsets = values.drop_null(), kept[offsets]
    return Ragged(values.cast(pa.binary()) if is_text(values.type) else values, offsets)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts or bytes."""
    types = pa.types
    return (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    )


def _in_type(column: pa.Array, field: pa.Field) -> pa.Array:
    array = converted(column, field)
    return array.cast(pa.binary()) if pa.types.is_string(field.type) else array


def _invalid(value: bytes | None) -> bool:
    try:
        return value is not None and value.decode() is None
    except UnicodeDecodeError:
        return True
