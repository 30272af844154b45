"""Rows of delimited text whose values may hold line breaks, told from rows with a stray quote.

A quote that is opened and never closed would take up the rows behind it until another quote
comes. So a row goes on in the next line only when that line is no row by itself and the
line that ends it has a closing quote.
"""

from __future__ import annotations

import csv
from typing import NamedTuple

from tfx_pipeline.datasets.importer.blocks import Broken
from tfx_pipeline.datasets.importer.blocks import broken
from tfx_pipeline.datasets.importer.text_file import LineBlock

_MAX_BYTES = 1 << 20  # of one row
STRAY = "a quote is not closed"


class Rows(NamedTuple):
    """Rows of a block of lines.

    Attributes:
        rows: Each row with its end, as it stands there.
        numbers: The number of each row's first line.
        stray: Lines with a stray quote.
        rest: Lines of a row that goes on behind the block.
    """

    rows: list[bytes]
    numbers: list[int]
    stray: list[Broken]
    rest: LineBlock


def split_rows(block: LineBlock, delimiter: str, width: int, last: bool) -> Rows:
    """Splits a block into rows, without its blank lines.

    Args:
        block: The lines.
        delimiter: One character.
        width: Fields of a row.
        last: Whether no line follows the block.
    """
    lines = [line + b"\n" for line in block.text.split(b"\n")[:-1]]
    found = Rows([], [], [], LineBlock(block.first + len(lines), b""))
    at = 0
    while at < len(lines):
        line, number = lines[at], block.first + at
        if not line.strip():
            at += 1
            continue
        end: int | None = at + 1
        if line.count(b'"') % 2 and _is_open(line, delimiter):
            end = _end_of_row(lines, at, delimiter, width)
            if end is None and not last and sum(map(len, lines[at:])) < _MAX_BYTES:
                return found._replace(rest=LineBlock(number, b"".join(lines[at:])))
        if not end:
            found.stray.append(broken(number, STRAY, line))
            at += 1
            continue
        found.rows.append(b"".join(lines[at:end]))
        found.numbers.append(number)
        at = end
    return found


def _end_of_row(lines: list[bytes], start: int, delimiter: str, width: int) -> int | None:
    """Returns one behind the last line of a row with an open quote.

    Returns:
        0 when the quote is a stray one, None when the row may go on behind the lines.
    """
    size = len(lines[start])
    for at in range(start + 1, len(lines)):
        line = lines[at]
        size += len(line)
        if size > _MAX_BYTES:
            return 0
        if line.count(b'"') % 2:
            whole = b"".join(lines[start : at + 1])
            return at + 1 if _closes(line, delimiter) and not _is_open(whole, delimiter) else 0
        if len(_fields(line, delimiter)) == width > 1:
            return 0  # a row by itself
    return None


def _closes(line: bytes, delimiter: str) -> bool:
    """Returns whether the first quote of a line stands where a closing one does."""
    behind = line.replace(b'""', b"").partition(b'"')[2]
    return behind.startswith((delimiter.encode(), b"\n", b"\r\n"))


def _is_open(text: bytes, delimiter: str) -> bool:
    """Returns whether a value of a row is still open where its text ends."""
    fields = _fields(text, delimiter)
    return bool(fields) and fields[-1].endswith("\n")


def _fields(text: bytes, delimiter: str) -> list[str]:
    line = text.decode("utf-8", "surrogateescape").replace("\0", "").replace("\r\n", "\n")
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # a field above Python's limit of 128 kB
        return []
