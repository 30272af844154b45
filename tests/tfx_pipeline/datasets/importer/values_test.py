"""Ids, numbers, texts and lists out of columns of any type."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from tfx_pipeline.datasets.importer.values import cleaned
from tfx_pipeline.datasets.importer.values import ids
from tfx_pipeline.datasets.importer.values import in_two_forms
from tfx_pipeline.datasets.importer.values import lists
from tfx_pipeline.datasets.importer.values import numbers
from tfx_pipeline.datasets.importer.values import plain
from tfx_pipeline.datasets.importer.values import texts


def test_floats_are_ids_where_they_are_whole_and_exact() -> None:
    column = pa.array([42.0, None, float("nan"), 1.5, 2.0**53, float("inf"), -7.0])
    found, bad = ids(column, "`user`")
    assert found.to_pylist() == [b"42", None, None, None, None, None, b"-7"]
    assert bad.tolist() == [False, False, False, True, True, True, False]
    assert ids(pa.array([2**63 + 1], pa.uint64()), "")[0].to_pylist() == [b"9223372036854775809"]
    assert ids(pa.nulls(2), "")[0].to_pylist() == [None, None]


@pytest.mark.parametrize("kind", [pa.string(), pa.binary(), pa.large_string()])
@pytest.mark.parametrize("other", ["a", "\u00e9"])
def test_texts_are_trimmed_and_null_words_are_missing(kind: pa.DataType, other: str) -> None:
    column = pa.array([" u5 ", "u6\t", " NULL", "nan", "", None, "nano", other]).cast(kind)
    expected = [b"u5", b"u6", None, None, None, None, b"nano", other.encode()]
    assert cleaned(column).cast(pa.binary()).to_pylist() == expected
    found, bad = ids(column.slice(1), "`user`")
    assert (found.to_pylist(), bad.any()) == (expected[1:], False)


def test_blanks_of_unicode_are_trimmed_beside_values_that_are_not_utf8() -> None:
    column = pa.array([b"u5\xc2\xa0", "\u2003u6".encode(), b"\xff ", b"a\xc2\xa0b", b"\xa0", None])
    expected = [b"u5", b"u6", b"\xff", b"a\xc2\xa0b", b"\xa0", None]
    assert cleaned(column).cast(pa.binary()).to_pylist() == expected
    assert cleaned(pa.array([], pa.string())).to_pylist() == []


@pytest.mark.parametrize(
    ("text", "number", "with_comma"),
    [
        (" +3 ", 3.0, 3.0),
        (".5", 0.5, 0.5),
        ("2.", 2.0, 2.0),
        ("-1e-2", -0.01, -0.01),
        ("2,50", None, 2.5),
        ("-,5", None, -0.5),
        ("1,234,5", None, None),
        ("1_000", None, None),
        ("0x10", None, None),
        ("nan", None, None),
        ("-", None, None),
        ("\u0663", None, None),  # a digit, but none of ASCII
    ],
)
def test_texts_as_numbers(text: str, number: float | None, with_comma: float | None) -> None:
    for decimal_comma, expected in ((False, number), (True, with_comma)):
        found, bad = numbers(pa.array([text, "", None]), "`price`", decimal_comma)
        assert found.to_pylist() == [expected, None, None]
        assert bad.tolist() == [expected is None, False, False]  # missing is not wrong


def test_typed_columns_as_numbers() -> None:
    assert numbers(pa.array([True, None]), "")[0].to_pylist() == [1.0, None]
    assert numbers(pa.array([b"7", b"\xff"]), "")[1].tolist() == [False, True]
    with pytest.raises(ValueError, match="`price` is of the type list.*; expected numbers"):
        numbers(pa.array([[1.0]]), "`price`")


def test_numbers_that_stand_among_ids_in_two_forms() -> None:
    ids_ = pa.chunked_array([["5", "5.0", "7.0", "8", "8.5"], ["5.00", "a.0", "a", "-1.0", "-1"]])
    assert in_two_forms(ids_).to_pylist() == ["5.0", "5.00", "-1.0"]


def test_texts_are_utf8_or_missing() -> None:
    found, bad = texts(pa.array(["é".encode(), b"caf\xe9", b"", None]), "")
    assert (found.to_pylist(), bad.tolist()) == (["é", None, None, None], [0, 1, 0, 0])
    assert texts(pa.array([7, None]), "")[0].to_pylist() == ["7", None]


def test_lists_join_the_columns_of_a_row_without_empty_values() -> None:
    columns = [
        pa.array([["a", "b"], None, [], [""]]),
        pa.array(["c|d", " e | | f", None, "|"]),
    ]
    assert lists(columns, "|").to_pylist() == [["a", "b", "c", "d"], ["e", "f"], None, None]
    assert lists(columns[1:]).to_pylist() == [["c|d"], ["e | | f"], None, ["|"]]


def test_dictionaries_and_decimals_become_plain() -> None:
    encoded = pa.chunked_array([pa.array(["a", None]), pa.array(["a"])]).dictionary_encode()
    assert plain(encoded).to_pylist() == ["a", None, "a"]
    long = Decimal(10**30)
    for values, kind, expected in (
        ([Decimal("1.50")], pa.decimal128(9, 2), [1.5]),
        ([Decimal(7), None], pa.decimal128(38, 0), [7, None]),
        ([long, None], pa.decimal128(38, 0), [str(long), None]),
    ):
        assert plain(pa.chunked_array([pa.array(values, kind)])).to_pylist() == expected
    assert plain(pa.chunked_array([], pa.string())).to_pylist() == []
