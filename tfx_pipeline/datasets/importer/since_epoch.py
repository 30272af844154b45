"""Numbers since 1970, as numbers or texts, turned into microseconds."""

from __future__ import annotations

import numpy as np

from tfx_pipeline.datasets.convert import as_text
from tfx_pipeline.datasets.convert import is_text
from transforms.arrow import pa
from transforms.arrow import pc

WHOLE_NUMBER = r"^\s*[+-]?(?:[0-9]{1,18}|[0-8][0-9]{18})\s*$"
_DECIMAL = r"^\s*[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?\s*$"


def is_number(kind: pa.DataType) -> bool:
    """Returns whether a type holds whole or other numbers."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def as_binary(column: pa.Array) -> pa.Array:
    """Returns numbers or texts as binary."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if is_text(column.type):
        return as_text(column).cast(pa.binary())
    if is_number(column.type):
        return column.cast(pa.string()).cast(pa.binary())
    return pa.nulls(len(column), pa.binary())


def microseconds(column: pa.Array, per_second: int) -> pa.Array:
    """Turns numbers since 1970, as numbers or texts, into microseconds; null where there are none.

    Whole numbers are computed exactly, others as float64.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_integer(column.type):
        return _scaled(column.cast(pa.int64(), safe=False), per_second)
    if pa.types.is_floating(column.type):
        return _rounded(np.asarray(column.cast(pa.float64()).fill_null(np.nan)), per_second)
    raw = as_binary(column)
    whole = np.asarray(pc.match_substring_regex(raw, WHOLE_NUMBER).fill_null(False))
    decimal = ~whole & np.asarray(pc.match_substring_regex(raw, _DECIMAL).fill_null(False))
    values = _scaled(_matching(raw, whole).cast(pa.int64()), per_second)
    if not decimal.any():
        return values
    floats = np.asarray(_matching(raw, decimal).cast(pa.float64()).fill_null(np.nan))
    return pc.if_else(pa.array(whole), values, _rounded(floats, per_second))


def _matching(raw: pa.Array, good: np.ndarray) -> pa.Array:
    """Returns texts [n] of digits at which a mask [n] holds, and null elsewhere."""
    kept = pc.if_else(pa.array(good), raw, pa.scalar(None, pa.binary())).cast(pa.string())
    return pc.ascii_trim(kept, " \t\r\n\v\f+")


def _scaled(values: pa.Array, per_second: int) -> pa.Array:
    """Turns whole numbers [n] int64 into microseconds; null where they would not fit."""
    numbers, mask = np.asarray(values.fill_null(0)), np.asarray(values.is_null())
    if per_second > 1_000_000:
        return pa.array(numbers // (per_second // 1_000_000), mask=mask)
    factor = 1_000_000 // per_second
    return pa.array(numbers * factor, mask=mask | (np.abs(numbers) > 2**62 // factor))


def _rounded(numbers: np.ndarray, per_second: int) -> pa.Array:
    """Turns numbers [n] float64 into microseconds; null where they are none or would not fit."""
    micros = numbers * (1_000_000 / per_second)
    good = np.abs(micros) < 2.0**62  # false for what is not a number
    return pa.array(np.rint(np.where(good, micros, 0)).astype(np.int64), mask=~good)
