"""Columns of an event log as plain Arrow and NumPy arrays, whatever type they came in."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tfx_pipeline.datasets.event_log import TABLES

if TYPE_CHECKING:
    from tfx_pipeline.components.timeline_example_gen.plan import Piece

ROWS_A_BATCH = 262_144
NEVER = np.iinfo(np.int64).max  # stands for a time beyond 64 bits; out of every range

_TIMES = ("timestamp", "available_from")


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
        if not _acceptable(received, field):
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


def read_timestamps(file: pq.ParquetFile, group: int) -> np.ndarray:
    """Returns the timestamps of a row group that are there and are times, as [n] int64."""
    column = file.read_row_group(group, columns=["timestamp"]).column(0)
    times = as_times(pa.concat_arrays(column.chunks))
    return times.values[~times.missing & ~times.unparsable]


def column(batch: pa.RecordBatch, name: str) -> pa.Array | None:
    """Returns a column, or None when the batch lacks it or it is all null."""
    index = batch.schema.get_field_index(name)
    if index < 0 or batch.column(index).null_count == batch.num_rows:
        return None
    return batch.column(index)


def as_binary(array: pa.Array) -> pa.BinaryArray:
    """Returns texts or whole numbers as bytes, nulls kept."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_integer(array.type):
        array = array.cast(pa.string())
    return array.cast(pa.binary())


def invalid_utf8(array: pa.BinaryArray) -> np.ndarray | None:
    """Returns [n] bool, which values are not UTF-8; None when all are."""
    try:
        array.cast(pa.string())
        return None
    except pa.ArrowInvalid:
        return np.array([_invalid(value) for value in array.to_pylist()], bool)


def as_times(array: pa.Array) -> Times:
    """Returns whole or broken numbers, timestamps, dates or texts as microseconds."""
    kind = array.type
    missing = np.asarray(array.is_null())
    unparsable = np.zeros(len(array), bool)
    if pa.types.is_dictionary(kind):
        return as_times(array.dictionary_decode())
    if is_text(kind):
        values, unparsable = _parse(as_binary(array))
    elif pa.types.is_timestamp(kind):
        values = _scale(_filled(array.cast(pa.int64())), kind.unit)
    elif pa.types.is_date(kind):
        values = _scale(_filled(array.cast(pa.timestamp("ms")).cast(pa.int64())), "ms")
    else:
        values = _filled(array)
    return Times(values, missing, unparsable & ~missing)


def as_numbers(array: pa.Array, kind: type) -> np.ndarray:
    """Returns a column of numbers as [n] `kind`, 0 where it is null or not finite."""
    values = np.asarray(array.fill_null(0))
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, 0)
    return values.astype(kind)


def as_ragged(array: pa.Array) -> Ragged:
    """Returns a column of lists, or of maps, whose entries become `key=value`."""
    if pa.types.is_map(array.type):
        array = _joined_map(array)
    lengths = np.asarray(pc.list_value_length(array).fill_null(0)).astype(np.int64)
    offsets = np.zeros(len(array) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    values = array.flatten()
    if values.null_count:
        kept = np.zeros(len(values) + 1, np.int64)
        np.cumsum(np.asarray(values.is_valid()), out=kept[1:])
        values, offsets = values.drop_null(), kept[offsets]
    return Ragged(values, offsets)


def _acceptable(kind: pa.DataType, field: pa.Field) -> bool:
    """Whether a column of one type can be read as a field of a table."""
    types = pa.types
    if types.is_null(kind):
        return field.nullable
    if types.is_dictionary(kind):
        kind = kind.value_type
    if field.name in _TIMES:
        numeric = types.is_integer(kind) or types.is_floating(kind)
        return numeric or types.is_timestamp(kind) or types.is_date(kind) or is_text(kind)
    if types.is_list(field.type):
        if types.is_map(kind):
            return field.name == "attributes"
        listed = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
        value = field.type.value_type
        return listed and _acceptable(kind.value_type, pa.field("item", value))
    if types.is_string(field.type):
        return is_text(kind) or types.is_integer(kind)
    if types.is_binary(field.type):
        return types.is_binary(kind) or types.is_large_binary(kind)
    if types.is_integer(field.type):
        return types.is_integer(kind)
    return types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts or bytes."""
    types = pa.types
    return (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    )


def _filled(array: pa.Array) -> np.ndarray:
    """Returns numbers as [n] int64, 0 for null, `NEVER` for what 64 bits do not hold."""
    values = np.asarray(array.fill_null(0))
    if values.dtype.kind == "f":
        fits = np.abs(values) < 2.0**63  # false for NaN too
        return np.where(fits, np.where(fits, values, 0.0).astype(np.int64), NEVER)
    if values.dtype == np.uint64:
        return np.where(values > np.uint64(NEVER), NEVER, values.astype(np.int64))
    return values.astype(np.int64, copy=False)


def _scale(values: np.ndarray, unit: str) -> np.ndarray:
    """Returns times in a unit of Arrow's as microseconds."""
    if unit == "ns":
        return values // 1_000
    factor = {"us": 1, "ms": 1_000, "s": 1_000_000}[unit]
    return np.where(np.abs(values) > NEVER // factor, NEVER, values * factor)


def _parse(texts: pa.BinaryArray) -> tuple[np.ndarray, np.ndarray]:
    """Parses texts: whole numbers are microseconds, the rest ISO 8601 dates."""
    series = pd.Series([_decoded(value) for value in texts.to_pylist()], dtype=object)
    numbers = series.str.fullmatch(r"\s*[+-]?\d{1,18}\s*").fillna(False).to_numpy(bool)
    dates = pd.to_datetime(series.where(~numbers), errors="coerce", utc=True)
    known = dates.notna().to_numpy()
    values = np.where(known, dates.to_numpy("datetime64[us]").astype(np.int64), 0)
    values[numbers] = series.to_numpy()[numbers].astype(np.int64)
    return values, ~known & ~numbers


def _joined_map(array: pa.MapArray) -> pa.ListArray:
    """Returns a map from text to text as lists of `key=value`."""
    offsets = array.offsets
    first, last = offsets[0].as_py(), offsets[-1].as_py()
    keys = as_binary(array.keys.slice(first, last - first))
    items = as_binary(array.items.slice(first, last - first))
    joined = pc.binary_join_element_wise(keys, items, pa.scalar(b"=", pa.binary()))
    return pa.ListArray.from_arrays(pc.subtract(offsets, first), joined)


def _invalid(value: bytes | None) -> bool:
    try:
        return value is not None and value.decode() is None
    except UnicodeDecodeError:
        return True


def _decoded(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")
