"""Times of an event log: what converts to microseconds, and what wrong numbers may mean."""

from __future__ import annotations

import datetime

import numpy as np

from transforms.arrow import pa
from transforms.arrow import pc

EARLIEST = 631_152_000_000_000  # 1990-01-01 UTC, in microseconds
DAY = 86_400_000_000
_UNITS = (  # upper bound of plausible values, unit, what to do
    (1e8, None, ""),
    (1e11, "seconds", "multiply by 1,000,000"),
    (1e14, "milliseconds", "multiply by 1,000"),
    (1e17, "microseconds", ""),
    (1e20, "nanoseconds", "divide by 1,000"),
)
_WHOLE_NUMBER = r"^\s*[+-]?[0-9]{1,18}\s*$"


def latest() -> int:
    """Returns the end of tomorrow in microseconds: nothing in a log is later."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return int(now.timestamp()) * 1_000_000 + 2 * DAY


def unit_hint(values: np.ndarray) -> str:
    """Says which unit numbers look like if it is not microseconds; may be empty.

    Args:
        values: [n] numbers that should be microseconds since the epoch.
    """
    if not len(values):
        return ""
    middle = float(np.median(np.abs(values.astype(np.float64))))
    for bound, unit, cure in _UNITS:
        if middle < bound:
            return f" They look like {unit}: {cure}." if unit and cure else ""
    return ""


def to_microseconds(column: pa.Array) -> pa.Array:
    """Turns numbers, Arrow timestamps, dates or text into microseconds.

    Text is ISO 8601, in UTC when it names no zone, or a whole number.

    Args:
        column: [n] times.

    Returns:
        [n] int64, null where a time is missing or does not parse.
    """
    types = pa.types
    if types.is_integer(column.type):
        return column.cast(pa.int64(), safe=False)
    if types.is_floating(column.type):
        values = np.asarray(column.cast(pa.float64()).fill_null(np.nan))
        good = np.abs(values) < 2.0**63  # false for what is not a number
        return pa.array(np.where(good, values, 0).astype(np.int64), mask=~good)
    if types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if types.is_timestamp(column.type):
        micros = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False)
        return micros.cast(pa.int64())
    return _parse(column)


def _parse(column: pa.Array) -> pa.Array:
    """Parses text; rare, so it may cost a microsecond or two a row."""
    import pandas as pd  # slow to import, and only needed here

    raw = column.cast(pa.binary() if not pa.types.is_large_binary(column.type) else column.type)
    text = pd.Series([None if v is None else v.decode("utf-8", "replace") for v in raw.to_pylist()])
    number = pc.match_substring_regex(pa.array(text, pa.string()), _WHOLE_NUMBER)
    numeric = np.asarray(pc.fill_null(number, False)).astype(bool)
    dates = pd.to_datetime(text.where(~numeric), errors="coerce", utc=True)
    values = dates.to_numpy("datetime64[us]").astype(np.int64)
    values[numeric] = text.to_numpy()[numeric].astype(np.int64)
    return pa.array(values, mask=np.asarray(dates.isna()) & ~numeric)
