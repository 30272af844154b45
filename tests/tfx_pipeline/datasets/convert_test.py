"""Columns of other types become the schema's, also when they are slices of larger arrays."""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa
import pytest

from tfx_pipeline.datasets.convert import converted
from tfx_pipeline.datasets.convert import converts
from tfx_pipeline.datasets.schemas import CATALOGUE
from tfx_pipeline.datasets.schemas import EVENTS
from tfx_pipeline.datasets.timestamps import to_microseconds

WORDS = pa.list_(pa.string())


@pytest.mark.parametrize(
    ("name", "values", "kind", "expected"),
    [
        ("title", ["a", None, "é"], pa.large_string(), ["a", None, "é"]),
        ("title", [b"a", None, b"b"], pa.binary(), ["a", None, "b"]),
        ("title", [b"a", None, b"b"], pa.large_binary(), ["a", None, "b"]),
        ("title", ["a", None, "a"], pa.dictionary(pa.int8(), pa.string()), ["a", None, "a"]),
        ("title", [None, None, None], pa.null(), [None, None, None]),
        ("categories", [["a"], None, [1 * "b", "c"]], pa.list_(pa.large_string()),
         [["a"], None, ["b", "c"]]),
        ("categories", [["1"], None, ["2", "3"]], pa.large_list(pa.string()),
         [["1"], None, ["2", "3"]]),
        ("categories", [[b"a"], [], [b"b"]], pa.list_(pa.binary()), [["a"], [], ["b"]]),
        ("attributes", [[("k", "v")], None, [("a", "b"), ("c", "d")]],
         pa.map_(pa.string(), pa.string()), [["k=v"], None, ["a=b", "c=d"]]),
        ("image_vector", [[1, 2], None, [3, 4]], pa.list_(pa.float64(), 2),
         [[1.0, 2.0], None, [3.0, 4.0]]),
        ("price", [1, None, 3], pa.int8(), [1.0, None, 3.0]),
    ],
)  # fmt: skip
def test_a_column_and_each_slice_of_it_convert(
    name: str, values: list[Any], kind: pa.DataType, expected: list[Any]
) -> None:
    field, array = CATALOGUE.field(name), pa.array(values, kind)
    assert converts(kind, field)
    assert converted(array, field).to_pylist() == expected
    for start in range(3):
        for length in range(4 - start):
            piece = converted(array.slice(start, length), field)
            assert piece.type == field.type
            assert piece.to_pylist() == expected[start : start + length]


def test_what_does_not_convert() -> None:
    assert not converts(pa.float64(), EVENTS.field("user_id"))
    assert not converts(pa.int64(), EVENTS.field("user_id"))
    assert not converts(pa.list_(pa.int64()), CATALOGUE.field("categories"))
    assert not converts(pa.string(), EVENTS.field("ordinal"))
    assert not converts(pa.null(), EVENTS.field("user_id"))
    assert not converts(pa.string(), CATALOGUE.field("price"))
    assert not converts(pa.string(), CATALOGUE.field("categories"))
    assert not converts(pa.map_(pa.string(), pa.string()), CATALOGUE.field("categories"))
    assert not converts(pa.list_(pa.string()), CATALOGUE.field("image_vector"))
    assert not converts(pa.struct([]), CATALOGUE.field("image"))


def test_times_of_every_type_become_microseconds() -> None:
    second = 1_700_000_000
    micros = second * 1_000_000
    for array in (
        pa.array([second], pa.timestamp("s")),
        pa.array([second * 1_000], pa.timestamp("ms", tz="Europe/Amsterdam")),
        pa.array([micros * 1_000], pa.timestamp("ns")),
        pa.array([micros]),
        pa.array([float(micros)]),
        pa.array(["2023-11-14T22:13:20Z"]),
        pa.array(["2023-11-15 00:13:20+02:00"], pa.large_string()),
        pa.array([f" {micros} ".encode()]),
    ):
        assert to_microseconds(array).to_pylist() == [micros]
    assert to_microseconds(pa.array([19_675], pa.int32()).cast(pa.date32())).to_pylist() == [
        19_675 * 86_400_000_000
    ]
    assert to_microseconds(pa.array(["soon", None, "2023-02-30"])).to_pylist() == [None] * 3


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-29",
        "2024-05-01 12",
        "2024-05-01T12:34",
        "2024-05-01T12:34:56",
        "2024-05-01 12:34:56.5",
        "2024-05-01T12:34:56.123456789Z",
        "2024-05-01T12:34:56+02:00",
        "2024-05-01T12:34:56.25-0930",
        "1969-12-31T23:59:59.999999+00:00",
        "0001-01-01",
        "9999-12-31 23:59:59",
    ],
)
def test_text_is_read_as_python_reads_it_whatever_stands_beside_it(text: str) -> None:
    plain = text.replace("Z", "+00:00").replace("-0930", "-09:30").replace("789", "")
    plain = plain.replace("56.5", "56.500").replace("56.25", "56.250")
    moment = datetime.datetime.fromisoformat(plain)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    expected = (moment - epoch) // datetime.timedelta(microseconds=1)
    beside = ["2023-11-14T22:13:20Z", "2023-11-14", " 7 ", "-7", text, None, "soon"]
    for kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary()):
        found = to_microseconds(pa.array(beside).cast(kind)).to_pylist()
        assert found == [1_700_000_000_000_000, 1_699_920_000_000_000, 7, -7, expected, None, None]


def test_text_that_is_no_time_is_null() -> None:
    bad = [
        "2023-02-29", "2023-13-01", "2023-00-10", "2023-01-00", "2023-01-01T24:00", "0000-01-01",
        "2023-01-01T00:60", "2023-01-01T00:00:60", "2023-01-01T00:00+25:00", "01/02/2023", "", " ",
        "2023-1-1", "nan", "99999999999999999999",
    ]  # fmt: skip
    assert to_microseconds(pa.array(bad)).to_pylist() == [None] * len(bad)
    not_utf8 = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers())
    assert to_microseconds(not_utf8).to_pylist() == [None]
    assert to_microseconds(pa.array([], pa.string())).to_pylist() == []
