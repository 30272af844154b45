"""Rows of several lines told from rows with a stray quote, line by line."""

from __future__ import annotations

import pytest

from tfx_pipeline.datasets.importer.quotes import split_rows
from tfx_pipeline.datasets.importer.text_file import LineBlock


@pytest.mark.parametrize(
    ("text", "rows", "numbers", "stray"),
    [
        (b'1,"a\nb"\n2,c\n', [b'1,"a\nb"\n', b"2,c\n"], [5, 7], []),
        (b'1,"a\r\nb"\r\n2,c\r\n', [b'1,"a\r\nb"\r\n', b"2,c\r\n"], [5, 7], []),
        (b'1,"a ""x\ny"""\n', [b'1,"a ""x\ny"""\n'], [5], []),
        (b'1,"a\n2,b\n', [b"2,b\n"], [6], [5]),  # the next line is a row by itself
        (b'1,"a\nb"c\n', [b'b"c\n'], [6], [5]),  # no closing quote ends `b`
        (b'\n1,a"\n \n', [b'1,a"\n'], [6], []),  # within a value; blank lines
        (b'1,a\n2,"b\nc\n', [b"1,a\n", b"c\n"], [5, 7], [6]),
    ],
)
def test_rows_of_the_last_block(
    text: bytes, rows: list[bytes], numbers: list[int], stray: list[int]
) -> None:
    found = split_rows(LineBlock(5, text), ",", 2, last=True)
    assert (found.rows, found.numbers) == (rows, numbers)
    assert [row.number for row in found.stray] == stray
    assert not found.rest.text


def test_a_quote_that_is_open_at_the_end_of_a_block_waits_for_the_next_one() -> None:
    lines = [b"1,a\n", b'2,"b\n', b"c\n", b'd"\n', b"3,e\n"]
    whole = [b"1,a\n", b'2,"b\nc\nd"\n', b"3,e\n"]
    for cut in range(1, len(lines)):
        first = split_rows(LineBlock(1, b"".join(lines[:cut])), ",", 2, last=False)
        assert first.rest.first + first.rest.text.count(b"\n") == cut + 1
        text = first.rest.text + b"".join(lines[cut:])
        second = split_rows(LineBlock(first.rest.first, text), ",", 2, last=True)
        assert first.rows + second.rows == whole
        assert first.numbers + second.numbers == [1, 2, 5]
        assert not first.stray and not second.stray


def test_the_delimiter_and_the_width_decide_what_is_a_row_by_itself() -> None:
    text = b'1;"a\n2,b"\n'
    assert split_rows(LineBlock(1, text), ";", 2, last=True).rows == [text]
    one = b'"a\nb"\n'  # of one column every line would be a row by itself
    assert split_rows(LineBlock(1, one), ",", 1, last=True).rows == [one]
