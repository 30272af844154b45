"""Formats of times: what they read, what they are in words, and which the user allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from typing import NamedTuple

import numpy as np

from tfx_pipeline.datasets.convert import is_text
from tfx_pipeline.datasets.importer.since_epoch import WHOLE_NUMBER
from tfx_pipeline.datasets.importer.since_epoch import as_binary
from tfx_pipeline.datasets.importer.since_epoch import microseconds
from tfx_pipeline.datasets.timestamps import parse_dates
from tfx_pipeline.datasets.timestamps import to_microseconds
from transforms.arrow import pa
from transforms.arrow import pc

Unit = Literal["auto", "s", "ms", "us", "ns"]
DateOrder = Literal["auto", "day-first", "month-first"]
UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_CLOCK = (
    r"(?:(?:[Tt:]|,? +)(?P<hour>\d{1,2})(?::(?P<minute>\d{2})"
    r"(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?)?\s*(?P<half>[AaPp][Mm])?)?"
)
_ZONE = (
    r"\s*(?P<zone>Z|z|UTC|GMT|(?P<sign>[+-])(?P<zone_hour>\d{2})(?::?(?P<zone_minute>\d{2}))?)?\s*$"
)
_WEEKDAY = r"(?:[A-Za-z]{3,9},? +)?"
_MONTH = r"(?P<month>\d{1,2}|[A-Za-z]{3,9})"
_PATTERNS = {
    "year first": r"^\s*(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})",
    "day first": rf"^\s*{_WEEKDAY}(?P<day>\d{{1,2}})[-/. ]{_MONTH}[-/. ,]+(?P<year>\d{{4}})",
    # Dots stand between day and month wherever they are used.
    "month first": rf"^\s*{_WEEKDAY}{_MONTH}[-/ ](?P<day>\d{{1,2}})[-/ ,]+(?P<year>\d{{4}})",
}
_COMPACT = (  # 99991231 stands for never
    r"^\s*(?P<year>(?:19|20)\d{2}|9999)(?P<month>\d{2})(?P<day>\d{2})"
    r"(?:[Tt ]?(?P<hour>\d{2})(?P<minute>\d{2})(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
)
_DATES = {name: pattern + _CLOCK + _ZONE for name, pattern in _PATTERNS.items()}
_DATES["digits"] = _COMPACT + _ZONE
KINDS = [*UNITS, "digits", *_PATTERNS]


class TimeFormat(NamedTuple):
    """One way of reading times.

    Attributes:
        kind: `s`, `ms`, `us` or `ns` since 1970; `year first`, `day first`, `month first` or
            `digits` (20240105) of dates; `typed` of a column of Arrow timestamps or dates.
        zone: Zone of dates that name none.
        form: `integers`, `decimals` or `dates`, for the description.
        zoned: Whether dates of the sample name a zone.
        local: Whether dates of the sample name none.
    """

    kind: str
    zone: str = "UTC"
    form: str = ""
    zoned: bool = False
    local: bool = False

    def __str__(self) -> str:
        """Returns the format in words."""
        if self.kind in UNITS:
            return f"{self.form}, {UNITS[self.kind]} since 1970"
        how = "timestamps" if self.kind == "typed" else f"dates, {self.kind}"
        zones = ["with their zone"] * self.zoned + [f"read as {self.zone}"] * self.local
        return f"{how}, {' or '.join(zones)}"

    def parse(self, column: pa.Array) -> pa.Array:
        """Reads times.

        Args:
            column: [n] of any type in which times come.

        Returns:
            [n] int64, microseconds since the epoch; null where this format reads none.
        """
        if self.kind == "typed":
            if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
                return pa.nulls(len(column), pa.int64())
            aware = pa.types.is_timestamp(column.type) and column.type.tz is not None
            values = to_microseconds(column)
            return values if aware else self._shifted(values, np.zeros(len(column), bool))
        if self.kind in UNITS:
            return microseconds(column, _PER_SECOND[self.kind])
        dates = parse_dates(as_binary(column), _DATES[self.kind])
        return self._shifted(pa.array(dates.values, mask=~dates.valid), dates.zoned)

    def _shifted(self, values: pa.Array, zoned: np.ndarray) -> pa.Array:
        """Takes times [n] that name no zone for those of the zone."""
        if self.zone == "UTC":
            return values
        local = values.cast(pa.timestamp("us"))
        # In autumn an hour comes twice and is taken for the first; in spring one is left out.
        utc = pc.assume_timezone(local, self.zone, ambiguous="earliest", nonexistent="earliest")
        return pc.if_else(pa.array(zoned), values, utc.cast(pa.int64()))


class TimeOptions(NamedTuple):
    """What the user says of the times of all columns; each goes for those that it fits.

    Attributes:
        unit: Unit of numbers; found by default.
        order: Order of day and month; found by default.
        zone: Zone of dates that name none; UTC by default.
    """

    unit: Unit = "auto"
    order: DateOrder = "auto"
    zone: str | None = None

    def kinds(self) -> list[str]:
        """Returns the kinds of formats that the user names."""
        return [kind for kind in KINDS if kind in (self.unit, self.order.replace("-", " "))]

    def check_use(self, formats: Sequence[TimeFormat]) -> None:
        """Refuses an option that fits no column: something is not what the user takes it for.

        Args:
            formats: Those of all columns of an import.

        Raises:
            ValueError: It names the option, and what the columns hold.
        """
        kinds = {found.kind for found in formats}
        unfit = [
            f"--{'time-unit' if kind in UNITS else 'date-order'} {kind.replace(' ', '-')}"
            for kind in self.kinds()
            if kind not in kinds
        ]
        if self.zone and not any(found.local for found in formats):
            unfit.append(f"--time-zone {self.zone}")
        if unfit:
            held = "; ".join(dict.fromkeys(map(str, formats)))
            raise ValueError(
                f"`{unfit[0]}` fits no column of times{': they hold ' * bool(held)}{held}. "
                "Leave it away."
            )


def check_zone(zone: str) -> None:
    """Refuses a zone that the machine does not know.

    Raises:
        ValueError: It is not among the zones of the IANA database.
    """
    try:
        pc.assume_timezone(pa.array([0], pa.timestamp("us")), zone)
    except pa.ArrowException as error:
        raise ValueError(
            f"`--time-zone {zone}` is not a zone that this machine knows. Write one of the IANA "
            f"database, such as `Europe/Berlin` or `UTC`. ({error})"
        ) from None


def described(kind: str, zone: str, values: pa.Array) -> TimeFormat:
    """Returns a format with what values [n] that it reads show of it."""
    if kind in UNITS:
        whole = pa.types.is_integer(values.type) or (
            is_text(values.type)
            and bool(np.asarray(pc.match_substring_regex(as_binary(values), WHOLE_NUMBER)).all())
        )
        return TimeFormat(kind, zone, "integers" if whole else "decimals")
    zoned = parse_dates(as_binary(values), _DATES[kind]).zoned
    return TimeFormat(kind, zone, "dates", bool(zoned.any()), not zoned.all())
