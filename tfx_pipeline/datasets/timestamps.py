"""Which numbers are plausible as microseconds since the epoch, and what others may be."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

EARLIEST = 631_152_000_000_000  # 1990-01-01 UTC, in microseconds
DAY = 86_400_000_000
_UNITS = (  # upper bound of plausible values, unit, what to do
    (1e8, None, ""),
    (1e11, "seconds", "multiply by 1,000,000"),
    (1e14, "milliseconds", "multiply by 1,000"),
    (1e17, "microseconds", ""),
    (1e20, "nanoseconds", "divide by 1,000"),
)
_ISO = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9:]+)?)?$"
)


def latest() -> int:
    """Returns the end of tomorrow in microseconds: nothing in a log is later."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return int(now.timestamp()) * 1_000_000 + 2 * DAY


def unit_hint(values: np.ndarray) -> str:
    """Says which unit numbers look like if it is not microseconds; may be empty.

    Args:
        values: [n] numbers that should be microseconds since the epoch.
    """
    finite = np.abs(values[np.isfinite(values)])
    if not len(finite):
        return ""
    middle = float(np.median(finite))
    for bound, unit, cure in _UNITS:
        if middle < bound:
            return f" They look like {unit}: {cure}." if unit and cure else ""
    return ""


def explain_wrong_type(column: pa.ChunkedArray) -> tuple[int, str]:
    """Says what a time column of a wrong type holds.

    Args:
        column: [n] values of any type but integers and timestamps.

    Returns:
        How many values do not parse as a time at all, and a sentence for the
        message.
    """
    kind = column.type
    if pa.types.is_dictionary(kind) or pa.types.is_large_string(kind):
        column = column.cast(pa.string())
    if pa.types.is_string(column.type):
        iso = pc.match_substring_regex(column, _ISO)
        number = pc.match_substring_regex(column, r"^-?[0-9]+(\.[0-9]+)?$")
        parsed = pc.sum(pc.or_(iso, number)).as_py() or 0
        bad = len(column) - parsed
        if pc.any(iso).as_py():
            cure = " Parse them as ISO 8601 and write an Arrow timestamp."
        elif pc.any(number).as_py():
            numbers = column.filter(number).cast(pa.float64()).to_numpy()
            cure = " Write them as int64." + unit_hint(numbers)
        else:
            cure = ""
        return bad, f"{bad:,} of {len(column):,} do not parse as a time.{cure}"
    if pa.types.is_floating(kind):
        values = column.drop_null().to_numpy()
        bad = int(np.sum(~np.isfinite(values)))
        return bad, f"Write them as int64.{unit_hint(values)}"
    return len(column), "Write them as int64 microseconds or as an Arrow timestamp."
