"""Times of an event log: what converts to microseconds, and what wrong numbers may mean."""

from __future__ import annotations

import datetime
from typing import NamedTuple

import numpy as np

from transforms.arrow import pa
from transforms.arrow import pc

EARLIEST = 631_152_000_000_000  # 1990-01-01 UTC, in microseconds
FAR_FUTURE = 4_102_444_800_000_000  # 2100-01-01 UTC
DAY = 86_400_000_000
_UNITS = (  # upper bound of plausible values, unit, what to do
    (1e8, None, ""),
    (1e11, "seconds", "multiply by 1,000,000"),
    (1e14, "milliseconds", "multiply by 1,000"),
    (1e17, "microseconds", ""),
    (1e20, "nanoseconds", "divide by 1,000"),
)
_WHOLE_NUMBER = r"^\s*[+-]?[0-9]{1,18}\s*$"
_ISO = (
    r"^\s*(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"
    r"(?:[Tt ](?P<hour>\d{2})(?::?(?P<minute>\d{2})(?::?(?P<second>\d{2})"
    r"(?:[.,](?P<fraction>\d{1,9}))?)?)?)?"
    r"\s*(?P<zone>Z|z|UTC|(?P<sign>[+-])(?P<zone_hour>\d{2})(?::?(?P<zone_minute>\d{2}))?)?\s*$"
)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


class Dates(NamedTuple):
    """Texts read as dates.

    Attributes:
        values: [n] int64, microseconds since the epoch, as in UTC where no zone is named.
        valid: [n] bool, which texts are dates.
        zoned: [n] bool, which of them name a zone.
    """

    values: np.ndarray
    valid: np.ndarray
    zoned: np.ndarray


def latest() -> int:
    """Returns the end of tomorrow in microseconds: nothing in a log is later."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return int(now.timestamp()) * 1_000_000 + 2 * DAY


def date_of(microseconds: int) -> str:
    """Returns the day of a time as text, or the number where there is no such day."""
    epoch = datetime.datetime(1970, 1, 1)
    try:
        return (epoch + datetime.timedelta(microseconds=microseconds)).date().isoformat()
    except OverflowError:
        return str(microseconds)


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

    Text is ISO 8601 (`2024-05-01`, `2024-05-01T12:00:00.5+02:00`), in UTC when it
    names no zone, or a whole number of microseconds.

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
    """Parses text, each value for itself: no other value says in which format it is."""
    if pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    raw = column.cast(pa.binary())  # text that is not UTF-8 is no time
    numeric = np.asarray(pc.match_substring_regex(raw, _WHOLE_NUMBER).fill_null(False))
    numbers = pc.if_else(pa.array(numeric), pc.utf8_trim(_ascii(raw, numeric), " \t+"), None)
    dates = parse_dates(raw)
    values = np.where(numeric, np.asarray(numbers.cast(pa.int64()).fill_null(0)), dates.values)
    return pa.array(values, mask=~(numeric | dates.valid))


def _ascii(raw: pa.Array, where: np.ndarray) -> pa.Array:
    """Returns the values [n] at which a mask [n] bool holds as strings, and null elsewhere."""
    return pc.if_else(pa.array(where), raw, pa.scalar(None, pa.binary())).cast(pa.string())


def parse_dates(raw: pa.Array, pattern: str = _ISO) -> Dates:
    """Reads dates and times.

    Args:
        raw: [n] binary.
        pattern: Regular expression with the groups `year`, `month` (a number or
            an English name) and `day`; and, where there are any, `hour`, `minute`, `second`,
            `fraction`, `half` (AM or PM), `zone`, `sign`, `zone_hour`, `zone_minute`.
    """
    parts = pc.extract_regex(raw, pattern)
    valid = np.asarray(parts.is_valid())
    text = {part.name: _ascii(parts.field(part.name), valid) for part in parts.type}

    def number(name: str) -> np.ndarray:
        digits = pc.if_else(pc.equal(text[name], ""), "0", text[name])  # optional and absent
        return np.asarray(digits.cast(pa.int64()).fill_null(0))

    text["month"] = _month_numbers(text["month"])
    year, month, day = number("year"), number("month"), number("day")
    valid &= (year >= 1) & (month >= 1) & (month <= 12)
    months = (year - 1970) * 12 + np.where(valid, month - 1, 0)
    first = months.astype("datetime64[M]").astype("datetime64[D]")
    length = (months + 1).astype("datetime64[M]").astype("datetime64[D]") - first
    valid &= (day >= 1) & (day <= length.astype(np.int64))
    hour, minute, second = number("hour"), number("minute"), number("second")
    if "half" in text:
        halves = pc.utf8_lower(text["half"])
        given = np.asarray(pc.greater(pc.binary_length(halves), 0).fill_null(False))
        valid &= ~given | ((hour >= 1) & (hour <= 12))
        afternoon = np.asarray(pc.equal(halves, "pm").fill_null(False))
        hour = np.where(given, hour % 12 + 12 * afternoon, hour)
    zone_hour, zone_minute = number("zone_hour"), number("zone_minute")
    for part, bound in ((hour, 24), (minute, 60), (second, 60), (zone_hour, 24), (zone_minute, 60)):
        valid &= part < bound
    fraction = pc.utf8_slice_codeunits(pc.utf8_rpad(text["fraction"], 6, "0"), 0, 6)
    micros = np.asarray(fraction.cast(pa.int64()).fill_null(0))
    east = np.asarray(pc.equal(text["sign"], "+").fill_null(False))
    away = (zone_hour * 60 + zone_minute) * np.where(east, -1, 1)
    minutes = ((first.astype(np.int64) + day - 1) * 24 + hour) * 60 + minute + away
    zoned = np.asarray(pc.greater(pc.binary_length(text["zone"]), 0).fill_null(False))
    return Dates((minutes * 60 + second) * 1_000_000 + micros, valid, zoned)


def _month_numbers(month: pa.Array) -> pa.Array:
    """Returns months as digits; a name that is no month is 0."""
    named = pc.match_substring_regex(month, "^[A-Za-z]")
    if not pc.any(named).as_py():
        return month
    index = pc.index_in(pc.utf8_lower(pc.utf8_slice_codeunits(month, 0, 3)), pa.array(_MONTHS))
    numbers = pc.add(index.fill_null(-1), 1).cast(pa.string())
    return pc.if_else(named, numbers, month)
