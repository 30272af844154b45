"""Columns of times: their format is found and said, or asked for where two fit."""

from __future__ import annotations

from datetime import datetime
from datetime import timezone
from typing import Any

import pyarrow as pa
import pytest

from tfx_pipeline.datasets.importer.time_column import TIMES_OF_ITEMS
from tfx_pipeline.datasets.importer.time_column import TimeRange
from tfx_pipeline.datasets.importer.time_column import find_time_format
from tfx_pipeline.datasets.importer.time_column import times_of_events
from tfx_pipeline.datasets.importer.time_format import TimeOptions
from tfx_pipeline.datasets.importer.time_format import check_zone


def read(
    *values: Any,
    kind: pa.DataType | None = None,
    expected: TimeRange | None = None,
    **options: Any,
) -> tuple[str, list[Any]]:
    """Returns the format in words, and the times as ISO 8601 in UTC."""
    column, expected = pa.array(values, kind), expected or times_of_events()
    found = find_time_format(column, "`t` of `a.csv`", TimeOptions(**options), 0.01, expected)
    assert found is not None
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc).timestamp()
    return str(found), [
        None
        if value is None
        else datetime.fromtimestamp(epoch + value / 1e6, timezone.utc).isoformat(" ")[:-6]
        for value in found.parse(column).to_pylist()
    ]


@pytest.mark.parametrize(
    ("text", "said", "time"),
    [
        ("1704153600", "integers, seconds since 1970", "2024-01-02 00:00:00"),
        (1704153600123, "integers, milliseconds since 1970", "2024-01-02 00:00:00.123000"),
        ("1704153600123456", "integers, microseconds since 1970", "2024-01-02 00:00:00.123456"),
        (1704153600123456789, "integers, nanoseconds since 1970", "2024-01-02 00:00:00.123456"),
        ("1704153600.25", "decimals, seconds since 1970", "2024-01-02 00:00:00.250000"),
        ("1.7041536E9", "decimals, seconds since 1970", "2024-01-02 00:00:00"),
        (1704153600.5, "decimals, seconds since 1970", "2024-01-02 00:00:00.500000"),
        ("20240102", "dates, digits, read as UTC", "2024-01-02 00:00:00"),
        (20240102, "dates, digits, read as UTC", "2024-01-02 00:00:00"),
        ("20240102T101112Z", "dates, digits, with their zone", "2024-01-02 10:11:12"),
        ("2024-01-02", "dates, year first, read as UTC", "2024-01-02 00:00:00"),
        ("2024/1/2 9:05", "dates, year first, read as UTC", "2024-01-02 09:05:00"),
        (
            "2024-01-02T10:11:12.5+02:00",
            "dates, year first, with their zone",
            "2024-01-02 08:11:12.500000",
        ),
        ("2024-01-02 10:11:12+00", "dates, year first, with their zone", "2024-01-02 10:11:12"),
        ("02.01.2024 10:11", "dates, day first, read as UTC", "2024-01-02 10:11:00"),
        ("13/01/2024 12:05 AM", "dates, day first, read as UTC", "2024-01-13 00:05:00"),
        ("1/13/2024 9:05:06 pm", "dates, month first, read as UTC", "2024-01-13 21:05:06"),
        ("2 Jan 2024", "dates, day first, read as UTC", "2024-01-02 00:00:00"),
        (
            "Tue, 02 Jan 2024 10:00:00 GMT",
            "dates, day first, with their zone",
            "2024-01-02 10:00:00",
        ),
        ("Tuesday January 2, 2024", "dates, month first, read as UTC", "2024-01-02 00:00:00"),
        ("January 2, 2024", "dates, month first, read as UTC", "2024-01-02 00:00:00"),
        ("02/Jan/2024:10:00:00 +0100", "dates, day first, with their zone", "2024-01-02 09:00:00"),
    ],
)
def test_a_format_is_found_and_said(text: Any, said: str, time: str) -> None:
    assert read(text) == (said, [time])


def test_typed_columns_are_read_as_they_are() -> None:
    when = datetime(2024, 1, 2, 10)
    assert read(when, kind=pa.timestamp("ns")) == (
        "timestamps, read as UTC",
        ["2024-01-02 10:00:00"],
    )
    aware = pa.timestamp("s", "Europe/Berlin")
    assert read(1704186000, kind=aware) == ("timestamps, with their zone", ["2024-01-02 09:00:00"])
    assert read(when.date(), kind=pa.date32())[1] == ["2024-01-02 00:00:00"]
    with pytest.raises(ValueError, match="is of the type bool, which holds no times"):
        read(True)


def test_the_zone_that_the_user_names_is_that_of_times_without_one() -> None:
    said, times = read(
        "2024-01-02 10:00", "2024-07-02 10:00", "2024-10-27 02:30", zone="Europe/Berlin"
    )
    assert said == "dates, year first, read as Europe/Berlin"
    # Of the hour that comes twice, at 02:30 in October, the first one is meant.
    assert times == ["2024-01-02 09:00:00", "2024-07-02 08:00:00", "2024-10-27 00:30:00"]
    check_zone("Europe/Berlin")
    with pytest.raises(ValueError, match="`--time-zone Berlin` is not a zone"):
        check_zone("Berlin")
    # Numbers and times with a zone are the same in every zone.
    said, times = read("1704153600", zone="Europe/Berlin")
    assert (said, times) == ("integers, seconds since 1970", ["2024-01-02 00:00:00"])
    said, times = read("2024-01-02T10:00Z", "2024-01-02T10:00", zone="Europe/Berlin")
    assert said == "dates, year first, with their zone or read as Europe/Berlin"
    assert times == ["2024-01-02 10:00:00", "2024-01-02 09:00:00"]


def test_day_and_month_are_not_guessed() -> None:
    with pytest.raises(ValueError, match="`01/02/2024`, `03/04/2024` may be day first or month fi"):
        read("01/02/2024", "03/04/2024")
    assert read("01/02/2024", order="day-first")[1] == ["2024-02-01 00:00:00"]
    assert read("01/02/2024", order="month-first")[1] == ["2024-01-02 00:00:00"]
    # One day above 12 says it for all.
    assert read("01/02/2024", "03/14/2024")[1] == ["2024-01-02 00:00:00", "2024-03-14 00:00:00"]
    # Where nearly all fit what the user says, the others do not unsay it.
    many = ["01/02/2024"] * 200
    assert read(*many, "03/14/2024", order="day-first")[1][199:] == ["2024-02-01 00:00:00", None]
    late = ["01/02/2024"] * 20_000 + ["14/02/2024"]
    assert read(*late)[1][-1] == "2024-02-14 00:00:00"


def test_several_formats_are_named() -> None:
    with pytest.raises(
        ValueError, match="of its first 3, 2 are integers, seconds .*1 are integers, m"
    ):
        read("1704153600", "1704153601", "1704153600000")
    with pytest.raises(ValueError, match="1 are dates, year first.*; 1 are none \\(`soon`\\)"):
        read("2024-01-02", "soon")


def test_fewer_values_of_another_format_are_no_times() -> None:
    many = ["1704153600"] * 200
    said, times = read(*many, "2024-01-02", "", None)
    assert said == "integers, seconds since 1970"
    assert times[199:] == ["2024-01-02 00:00:00", None, None, None]


@pytest.mark.parametrize("text", ["yesterday", "45292.5", "17", "01/02/24", "2024-13-01"])
def test_what_is_no_time_is_shown(text: str) -> None:
    with pytest.raises(ValueError, match=f"does not hold times between 1990.*starts with `{text}`"):
        read(text)


def test_what_the_user_says_is_nothing_to_columns_that_it_does_not_fit() -> None:
    assert read("2024-01-02", unit="ms")[0] == "dates, year first, read as UTC"
    assert read("1704153600", unit="ms")[0] == "integers, seconds since 1970"
    assert read("14/03/2024", order="month-first")[0] == "dates, day first, read as UTC"
    assert read("20240102", order="month-first")[0] == "dates, digits, read as UTC"


@pytest.mark.parametrize(
    ("option", "value", "fit", "unfit"),
    [
        ("unit", "ms", 1704153600000, [1704153600, "2024-01-02"]),
        ("order", "day-first", "14/03/2024", ["03/14/2024", "2024-01-02", 1704153600]),
        ("zone", "Europe/Berlin", "2024-01-02", ["2024-01-02T00:00Z", 1704153600]),
    ],
)
def test_an_option_that_fits_no_column_is_refused(
    option: str, value: str, fit: Any, unfit: list[Any]
) -> None:
    options = TimeOptions(**{option: value})  # type: ignore[arg-type]
    found = [
        find_time_format(pa.array([text]), "`t`", options, 0.01, times_of_events())
        for text in [fit, *unfit]
    ]
    formats = [one for one in found if one is not None]
    options.check_use(formats)
    with pytest.raises(ValueError, match=f"-{option} {value}` fits no column of times: they hold"):
        options.check_use(formats[1:])
    with pytest.raises(ValueError, match="fits no column of times. Leave it away"):
        options.check_use([])


def test_no_value_shows_no_format() -> None:
    empty = pa.array(["", None], pa.string())
    assert find_time_format(empty, "`t`", TimeOptions(), 0.01, times_of_events()) is None


def in_unit(years: list[int], per_second: int) -> list[int]:
    """Returns the first second of years as numbers since 1970."""
    starts = [datetime(year, 1, 1, tzinfo=timezone.utc).timestamp() for year in years]
    return [int(start) * per_second for start in starts]


@pytest.mark.parametrize(
    "written", ["{0}-01-01", "{0}0101", "01/13/{0}", "13 Jan {0}", "{0}-01-01T00:00Z"]
)
@pytest.mark.parametrize("years", [[1961, 1970, 2024], [2024, 2060, 9999], [1961]])
def test_old_and_coming_items_show_a_format(written: str, years: list[int]) -> None:
    values = [written.format(year) for year in years]
    said, times = read(*values, expected=TIMES_OF_ITEMS)
    assert said.startswith("dates")
    assert [time[:4] for time in times] == [str(year) for year in years]
    with pytest.raises(ValueError, match="several kinds|between 1990 and tomorrow"):
        read(*values)


@pytest.mark.parametrize(("unit", "per_second"), [("seconds", 1), ("milliseconds", 1_000)])
def test_units_of_items_are_told_apart_by_what_is_within_1990_and_2100(
    unit: str, per_second: int
) -> None:
    # Old ones, and those of the year 9999, are times in several units.
    values = in_unit([1901, 1970, 1969, 9999, 2050], per_second)
    said, times = read(*values, expected=TIMES_OF_ITEMS)
    assert said == f"integers, {unit} since 1970"
    assert [time[:4] for time in times] == ["1901", "1970", "1969", "9999", "2050"]


def test_units_of_items_are_asked_for_where_nothing_tells_them() -> None:
    old = in_unit([1961, 1975], 1)
    with pytest.raises(
        ValueError, match="`t` .* may be seconds since 1970 or milli.*Say which with `--time-unit`"
    ):
        read(*old, expected=TIMES_OF_ITEMS)
    said, times = read(*old, expected=TIMES_OF_ITEMS, unit="s")
    assert said == "integers, seconds since 1970" and times[0] == "1961-01-01 00:00:00"
    with pytest.raises(ValueError, match="ambiguous"):
        read("1961", "1999", expected=TIMES_OF_ITEMS)


def test_items_in_two_units_are_several_kinds() -> None:
    values = in_unit([1961, 2024, 2025], 1) + in_unit([2024], 1_000)
    with pytest.raises(ValueError, match="3 are integers, seconds .*1 are integers, milliseconds"):
        read(*values, expected=TIMES_OF_ITEMS)
    with pytest.raises(ValueError, match="1 are dates, year first.*1 are none .`soon`."):
        read("1961-01-01", "soon", expected=TIMES_OF_ITEMS)


def test_what_is_no_time_of_an_item_speaks_of_items() -> None:
    with pytest.raises(ValueError, match="between 1990 and 2100.* leave `--available-from` away"):
        read("soon", expected=TIMES_OF_ITEMS)
    with pytest.raises(ValueError, match="`01/02/1961` may be day first or month first"):
        read("01/02/1961", expected=TIMES_OF_ITEMS)
