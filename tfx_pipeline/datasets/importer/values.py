"""Columns of files turned into ids, numbers and lists of texts, whatever type they came in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfx_pipeline.datasets.columns import invalid_utf8
from tfx_pipeline.datasets.convert import as_text
from tfx_pipeline.datasets.convert import is_text
from tfx_pipeline.datasets.sequences import constant
from transforms.arrow import pa
from transforms.arrow import pc

# As databases, pandas, R and Spark write what is missing.
MISSING = ["", "NULL", "null", "\\N", "NaN", "nan", "NA", "N/A", "None", "<NA>", "NaT"]
LARGEST_EXACT = 2.0**53  # whole numbers above are not exact as float64

_NUMBER = r"^\s*[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*$"
_DECIMAL_COMMA = r"^(\s*[+-]?[0-9]*),([0-9]+\s*)$"
_MISSING = pa.array(MISSING)
_BETWEEN = "\x1f"


def plain(column: pa.ChunkedArray) -> pa.Array:
    """Returns a column [n] as one array without dictionary; decimals as numbers or texts."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # of a table without rows
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_decimal(array.type):
        try:
            array = array.cast(pa.float64() if array.type.scale else pa.int64())
        except pa.ArrowInvalid:  # more digits than an int64 has
            array = pa.array([None if v is None else str(v) for v in array.to_pylist()])
    return array


def cleaned(column: pa.Array) -> pa.Array:
    """Trims white space around texts, and makes null what stands for a missing value.

    Args:
        column: [n] texts or bytes.

    Returns:
        [n] string, which may not be UTF-8.
    """
    text = pc.ascii_trim_whitespace(as_text(column))  # it looks at ASCII alone
    data = np.frombuffer(text.buffers()[2] or b"", np.uint8)
    if data.size and data.max() > 127:
        bad = invalid_utf8(text.cast(pa.binary()))
        valid = text if bad is None else only(text, ~bad)
        text = pc.coalesce(pc.utf8_trim_whitespace(valid), text)
    missing = np.asarray(pc.is_in(text, value_set=_MISSING))
    return only(text, ~missing) if missing.any() else text


def only(column: pa.Array, kept: np.ndarray) -> pa.Array:
    """Returns values at which a mask [n] holds, and null elsewhere."""
    return pc.if_else(pa.array(kept), column, pa.scalar(None, column.type))


def ids(column: pa.Array, where: str) -> tuple[pa.Array, np.ndarray]:
    """Turns a column into ids.

    Texts stay as they are, once `cleaned`. Whole numbers that came as float64 (`42.0`), as pandas
    holds a column of numbers in which some are missing, are written as whole numbers.

    Args:
        column: [n].
        where: Column and file, for messages.

    Returns:
        [n] binary, null where there is none; and [n] bool, which values are numbers that
        are not whole.

    Raises:
        ValueError: A type that holds no ids.
    """
    bad = np.zeros(len(column), bool)
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.binary()), bad
    if is_text(column.type):
        return cleaned(column).cast(pa.binary()), bad
    if pa.types.is_floating(column.type):
        numbers = np.asarray(column.cast(pa.float64()).fill_null(np.nan))
        missing = np.isnan(numbers)
        bad = ~missing & ~((np.abs(numbers) < LARGEST_EXACT) & (numbers == np.rint(numbers)))
        whole = np.where(missing | bad, 0, numbers).astype(np.int64)
        column = pa.array(whole, mask=missing | bad)
    if not pa.types.is_integer(column.type):
        raise ValueError(
            f"{where} is of the type {column.type}, which holds no ids. Write texts or whole "
            "numbers."
        )
    return column.cast(pa.string()).cast(pa.binary()), bad


def in_two_forms(ids: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Returns those of distinct ids [n] string that are whole numbers with decimals, as `5.0`.

    Only those whose number is among the ids without decimals, too.
    """
    decimal = ids.filter(pc.match_substring_regex(ids, r"^-?[0-9]+\.0+$"))
    whole = pc.replace_substring_regex(decimal, r"\.0+$", "")
    return decimal.filter(pc.is_in(whole, value_set=ids))


def texts(column: pa.Array, where: str) -> tuple[pa.Array, np.ndarray]:
    """Turns a column into texts.

    Args:
        column: [n].
        where: Column and file, for messages.

    Returns:
        [n] string, null where there is none; and [n] bool, which values are not UTF-8 and null too.

    Raises:
        ValueError: A column of lists or records.
    """
    if not is_text(column.type):
        if pa.types.is_nested(column.type):
            raise ValueError(f"{where} is of the type {column.type}; expected texts or numbers.")
        return column.cast(pa.string()), np.zeros(len(column), bool)
    raw = as_text(column).cast(pa.binary())
    raw = pc.if_else(pc.equal(pc.binary_length(raw), 0), pa.scalar(None, pa.binary()), raw)
    bad = invalid_utf8(raw)
    if bad is None:
        return raw.cast(pa.string()), np.zeros(len(raw), bool)
    return pc.if_else(pa.array(bad), pa.scalar(None, pa.binary()), raw).cast(pa.string()), bad


def numbers(
    column: pa.Array, where: str, decimal_comma: bool = False
) -> tuple[pa.Array, np.ndarray]:
    """Turns a column into numbers.

    Args:
        column: [n] numbers, or texts of them.
        where: Column and file, for messages.
        decimal_comma: Whether `3,5` is three and a half.

    Returns:
        [n] float64, null where there is none; and [n] bool, which values are no numbers.

    Raises:
        ValueError: A type that holds no numbers.
    """
    if not is_text(column.type):
        types = (pa.types.is_integer, pa.types.is_floating, pa.types.is_null, pa.types.is_boolean)
        if not any(is_type(column.type) for is_type in types):
            raise ValueError(f"{where} is of the type {column.type}; expected numbers.")
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        return column.cast(pa.float64(), safe=False), np.zeros(len(column), bool)
    raw = as_text(column).cast(pa.binary())
    if decimal_comma:
        raw = pc.replace_substring_regex(raw, _DECIMAL_COMMA, r"\1.\2")
    good = np.asarray(pc.match_substring_regex(raw, _NUMBER).fill_null(False))
    given = np.asarray(pc.greater(pc.binary_length(raw), 0).fill_null(False))
    digits = pc.if_else(pa.array(good), raw, pa.scalar(None, pa.binary())).cast(pa.string())
    digits = pc.ascii_trim(digits, " \t\r\n\v\f+")
    return digits.cast(pa.float64()), given & ~good


def lists(columns: Sequence[pa.Array], separator: str | None = None) -> pa.Array:
    """Joins the values of each row to a list of texts, without empty ones.

    Args:
        columns: Columns [n] of texts in UTF-8, or of lists of texts.
        separator: What stands between the values of one text, e.g. `|`.

    Returns:
        [n] list of string, null where there is no value.
    """
    joined = [constant("", len(columns[0]))]  # in pyarrow 10 rows of nulls alone would be lost
    for column in columns:
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            column = pc.binary_join(column.cast(pa.list_(pa.string())), _BETWEEN)
        elif separator:
            column = pc.replace_substring(column, separator, _BETWEEN)
        joined.append(column)
    row = pc.binary_join_element_wise(*joined, _BETWEEN, null_handling="skip")
    row = pc.replace_substring_regex(row, rf"\s*{_BETWEEN}[\s{_BETWEEN}]*", _BETWEEN)
    row = pc.utf8_trim(row, _BETWEEN + " ")
    row = pc.if_else(pc.equal(row, ""), pa.scalar(None, pa.string()), row)
    return pc.split_pattern(row, _BETWEEN)
