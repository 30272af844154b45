"""Columns of an event log as plain Arrow and NumPy arrays, whatever type they came in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfx_pipeline.datasets.convert import converted
from tfx_pipeline.datasets.convert import is_text
from tfx_pipeline.datasets.schemas import schema_of
from transforms.arrow import pa
from transforms.arrow import pc


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


class Batch:
    """Some rows of a table, each column in its type of the schema once it is asked for.

    Text comes as binary that may not be UTF-8. A column that the file lacks,
    or has in a type that does not convert, is not among them.

    Attributes:
        table: `events`, `catalogue`, `users`, or `features.<name>`.
        rows: The rows as the file has them.
    """

    def __init__(self, table: str, rows: pa.RecordBatch) -> None:
        """Takes rows of a table."""
        self.table = table
        self.rows = rows
        self._columns: dict[str, pa.Array] = {}

    def __len__(self) -> int:
        return self.rows.num_rows

    def has(self, name: str) -> bool:
        """Returns whether the rows have a column of this name."""
        return self.rows.schema.get_field_index(name) >= 0

    def column(self, name: str) -> pa.Array:
        """Returns a column [n]; null where it is absent and where a time does not parse."""
        if name not in self._columns:
            field = schema_of(self.table).field(name)
            if self.has(name):
                array = converted(self.rows.column(self.rows.schema.get_field_index(name)), field)
            else:
                array = pa.nulls(len(self), field.type)
            is_string = pa.types.is_string(field.type)
            self._columns[name] = array.cast(pa.binary()) if is_string else array
        return self._columns[name]

    def given(self, name: str) -> pa.Array | None:
        """Returns a column [n]; None when the rows lack it or it is all null."""
        if not self.has(name):
            return None
        index = self.rows.schema.get_field_index(name)
        all_null = self.rows.column(index).null_count == len(self)
        return None if all_null else self.column(name)

    def times(self, name: str) -> Times:
        """Returns a column of times [n], all missing when the rows lack it."""
        missing = np.ones(len(self), bool)
        if self.has(name):
            index = self.rows.schema.get_field_index(name)
            missing = np.asarray(self.rows.column(index).is_null())
        values = self.column(name)
        nulls = np.asarray(values.is_null())
        return Times(np.asarray(values.fill_null(0)), missing, nulls & ~missing)

    def names(self) -> pa.BinaryArray:
        """Returns `type:id` of each row [n]; a part that is missing is empty."""
        parts = [self.column(name).fill_null(b"") for name in ("entity_type", "entity_id")]
        return pc.binary_join_element_wise(*parts, pa.scalar(b":", pa.binary()))

    def filter(self, keep: np.ndarray) -> Batch:
        """Returns the rows at which a mask [n] bool holds."""
        return self if keep.all() else Batch(self.table, self.rows.filter(pa.array(keep)))


def as_ragged(lists: pa.ListArray) -> Ragged:
    """Returns a column of lists, of which nulls count as empty; text as binary."""
    offsets = list_offsets(lists)
    values = lists.flatten()
    if values.null_count:
        kept = np.zeros(len(values) + 1, np.int64)
        np.cumsum(np.asarray(values.is_valid()), out=kept[1:])
        values, offsets = values.drop_null(), kept[offsets]
    return Ragged(values.cast(pa.binary()) if is_text(values.type) else values, offsets)


def list_offsets(lists: pa.ListArray) -> np.ndarray:
    """Returns [n + 1] int64, where the values of each list start in `lists.flatten()`."""
    lengths = np.asarray(pc.list_value_length(lists).fill_null(0)).astype(np.int64)
    return np.concatenate([[0], np.cumsum(lengths)])


def rows_of(bad: np.ndarray | None, offsets: np.ndarray) -> np.ndarray | None:
    """Returns [n] bool, which rows of a ragged column hold a bad value."""
    if bad is None:
        return None
    before = np.concatenate([[0], np.cumsum(bad)])
    return before[offsets[1:]] > before[offsets[:-1]]


def invalid_utf8(array: pa.BinaryArray) -> np.ndarray | None:
    """Returns [n] bool, which values are not UTF-8; None when all are."""
    try:
        array.cast(pa.string())
        return None
    except pa.ArrowInvalid:
        return np.array([_invalid(value) for value in array.to_pylist()], bool)


def _invalid(value: bytes | None) -> bool:
    try:
        return value is not None and value.decode() is None
    except UnicodeDecodeError:
        return True
