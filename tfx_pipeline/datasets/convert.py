"""Conversion of column types to those of the event log's schema."""

from __future__ import annotations

import numpy as np

from tfx_pipeline.datasets.timestamps import to_microseconds
from transforms.arrow import pa
from transforms.arrow import pc

TIME_COLUMNS = ("timestamp", "available_from")


def converts(kind: pa.DataType, field: pa.Field) -> bool:
    """Returns whether a column's type can be read as a field of the schema.

    Text may be bytes, attributes may be a map, and lists may be of fixed size;
    a column without any value may have any type. Numbers are no text: an id
    that one reader writes as `5` is `5.0` or `05` to another.
    """
    types = pa.types
    if types.is_null(kind):
        return field.nullable
    if types.is_dictionary(kind):
        kind = kind.value_type
    if field.name in TIME_COLUMNS:
        numeric = types.is_integer(kind) or types.is_floating(kind)
        return numeric or types.is_timestamp(kind) or types.is_date(kind) or is_text(kind)
    if types.is_string(field.type):
        return is_text(kind)
    if types.is_integer(field.type):
        return types.is_integer(kind)
    if types.is_floating(field.type):
        wide = types.is_float32(kind) or types.is_float64(kind)
        return wide or types.is_integer(kind) or types.is_decimal(kind)
    if types.is_binary(field.type):
        return types.is_binary(kind) or types.is_large_binary(kind)
    if types.is_map(kind):
        return field.name == "attributes" and is_text(kind.key_type) and is_text(kind.item_type)
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    value = field.type.value_field.with_nullable(True)
    return is_list and converts(kind.value_type, value)


def is_time_by_guess(kind: pa.DataType) -> bool:
    """Returns whether times of this type have to be parsed or rounded."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return is_text(kind) or pa.types.is_floating(kind)


def converted(column: pa.Array, field: pa.Field) -> pa.Array:
    """Turns a column into its field's type.

    Text is not checked: it may come out as strings that are not UTF-8. Times
    that do not parse come out as null.

    Args:
        column: [n] of a type that `converts`.
        field: Its field of the schema.

    Returns:
        [n] of the field's type.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if field.name in TIME_COLUMNS and not pa.types.is_null(column.type):
        return to_microseconds(column)
    if pa.types.is_map(column.type):
        column = _joined_map(column)
    if pa.types.is_fixed_size_list(column.type):
        column = _of_any_size(column)
    if pa.types.is_string(field.type) and is_text(column.type):
        return as_text(column)
    if pa.types.is_list(field.type) and pa.types.is_list(column.type):
        if is_text(column.type.value_type) and pa.types.is_string(field.type.value_type):
            return _with_values(column, as_text(column.values))
    return column.cast(field.type, safe=False)


def as_text(column: pa.Array) -> pa.Array:
    """Calls text or bytes of any offset width strings, without looking at them."""
    if pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    if pa.types.is_large_binary(column.type):
        column = column.cast(pa.binary())
    return pa.Array.from_buffers(
        pa.string(), len(column), column.buffers(), column.null_count, column.offset
    )


def _with_values(lists: pa.Array, values: pa.Array) -> pa.Array:
    """Replaces the values of lists; `values` are those of the whole array, not of a slice."""
    validity, offsets = lists.buffers()[:2]
    return pa.Array.from_buffers(
        pa.list_(values.type),
        len(lists),
        [validity, offsets],
        lists.null_count,
        lists.offset,
        [values],
    )


def _of_any_size(lists: pa.Array) -> pa.Array:
    """Turns lists of a fixed size into lists."""
    size, valid = lists.type.list_size, np.asarray(lists.is_valid())
    values = lists.values.slice(lists.offset * size, len(lists) * size)
    ends = np.concatenate([[0], np.cumsum(valid * size)]).astype(np.int32)
    offsets = pa.array(ends, mask=np.append(~valid, False))
    return pa.ListArray.from_arrays(offsets, values.filter(pa.array(np.repeat(valid, size))))


def _joined_map(column: pa.Array) -> pa.Array:
    """Turns maps into lists of `key=value`."""
    validity, offsets = column.buffers()[:2]
    pairs = pc.binary_join_element_wise(as_text(column.keys), as_text(column.items), "=")
    return pa.Array.from_buffers(
        pa.list_(pa.string()),
        len(column),
        [validity, offsets],
        column.null_count,
        column.offset,
        [pairs],
    )


def is_text(kind: pa.DataType) -> bool:
    """Returns whether a column of this type holds texts or bytes."""
    types = pa.types
    return (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    )
