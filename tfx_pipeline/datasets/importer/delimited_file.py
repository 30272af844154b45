"""Delimited text (CSV, semicolons, tabs, ...): its header found, its rows read in blocks."""

from __future__ import annotations

import csv as python_csv
import re
from collections import Counter
from collections.abc import Iterator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfx_pipeline.datasets.importer.blocks import Block
from tfx_pipeline.datasets.importer.blocks import Broken
from tfx_pipeline.datasets.importer.blocks import broken
from tfx_pipeline.datasets.importer.blocks import require_columns
from tfx_pipeline.datasets.importer.quotes import STRAY
from tfx_pipeline.datasets.importer.quotes import split_rows
from tfx_pipeline.datasets.importer.text_file import LineBlock
from tfx_pipeline.datasets.importer.text_file import TextFile
from tfx_pipeline.datasets.importer.values import cleaned
from transforms.arrow import csv
from transforms.arrow import pa
from transforms.arrow import pc

_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", "::": "`::`", " ": "space"}
_LOOKED_AT = 200  # lines that tell delimiters apart
_EXCEL = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # a first line that names the delimiter
_STAND_IN = "\x1f"  # Arrow's delimiters are one character


class Dialect(NamedTuple):
    """Form of a delimited file, as far as the user says it.

    Attributes:
        delimiter: What stands between fields; found by default.
        columns: Names of the columns of a file without a header.
        quotes: Whether `"` may stand around values.
    """

    delimiter: str | None = None
    columns: tuple[str, ...] = ()
    quotes: bool = True


class DelimitedFile:
    """Reads delimited text; every value is a text, so `007` stays `007`.

    Attributes:
        name: Its path, for messages.
        format: Its format in words.
    """

    def __init__(self, text: TextFile, wanted: Sequence[str], dialect: Dialect) -> None:
        """Finds delimiter and columns in the first line.

        Args:
            text: The file.
            wanted: Columns that will be asked for: the delimiter that tells them apart is
                the right one.
            dialect: What the user says.

        Raises:
            ValueError: The names given do not fit the first line.
        """
        self.name = str(text.path)
        self._text = text
        self._quotes = dialect.quotes
        lines = text.head.decode("utf-8", "replace").split("\n")
        lines = [line.rstrip("\r") for line in lines if line.strip()][:_LOOKED_AT] or [""]
        said = _EXCEL.fullmatch(lines[0])
        if said:  # no row, and no header
            lines = lines[1:] or [""]
            dialect = dialect._replace(delimiter=dialect.delimiter or said[1])
        first = lines[0]
        self._delimiter = self._find_delimiter(lines, wanted, dialect)
        fields = self._split(first, self._delimiter)
        if dialect.columns and len(fields) != len(dialect.columns):
            raise ValueError(
                f"`--columns` names {len(dialect.columns)} columns, and the first line of "
                f"`{self.name}` has {len(fields)} fields: `{first[:200]}`. Name each of them, in "
                "their order; or say `--delimiter`, if it is another one."
            )
        self._header = not dialect.columns or fields == list(dialect.columns)
        self._skipped = int(self._header) + int(said is not None)  # lines
        self._columns = list(dialect.columns) or fields
        self._columns += [""] * self._surplus(lines)
        self._first_line = first[:200]
        between = _NAMES.get(self._delimiter, f"`{self._delimiter}`")
        self.format = f"{between}-separated, {text.encoding}"

    def require(self, wanted: Sequence[str]) -> None:
        """Checks that columns are there; see `InputFile`."""
        require_columns(self.name, self._columns, wanted, self._no_header_hint())

    def blocks(self, wanted: Sequence[str]) -> Iterator[Block]:
        """Reads columns, a block of lines at a time; see `InputFile`."""
        skipped, rest = self._skipped, b""
        blocks = self._text.line_blocks()
        block = next(blocks, None)
        while block is not None:
            following = next(blocks, None)
            first, text = block.first, block.text
            if rest:
                first, text = first - rest.count(b"\n"), rest + text
            while skipped and text.strip():
                end = text.find(b"\n", len(text) - len(text.lstrip(b"\r\n"))) + 1
                first, text = first + text.count(b"\n", 0, end), text[end:]
                skipped -= 1
            if self._delimiter != self._character:
                text = text.replace(self._delimiter.encode(), _STAND_IN.encode())
            found, rest = self._parsed(LineBlock(first, text), wanted, last=following is None)
            if len(found.numbers) or found.broken:
                yield found
            block = following

    @property
    def _character(self) -> str:
        """The delimiter, one character of ASCII."""
        return self._delimiter if len(self._delimiter.encode()) == 1 else _STAND_IN

    def _find_delimiter(self, lines: Sequence[str], wanted: Sequence[str], dialect: Dialect) -> str:
        """Returns the delimiter under which the first line has the columns.

        Of several, it is the one that divides the next lines alike; of none, the one that
        finds most fields.
        """
        if dialect.delimiter:
            return dialect.delimiter
        found = {delimiter: self._split(lines[0], delimiter) for delimiter in _NAMES}
        if dialect.columns:
            fits = [d for d in found if len(found[d]) == len(dialect.columns)]
        else:
            fits = [d for d in found if set(wanted) <= set(found[d])]
        if not fits:
            return max(found, key=lambda d: len(found[d]))
        alike = {d: sum(len(self._split(li, d)) == len(found[d]) for li in lines) for d in fits}
        return max(fits, key=lambda d: alike[d])

    def _surplus(self, lines: Sequence[str]) -> int:
        """Returns how many empty fields, which the header lacks, end most lines."""
        width = len(self._columns)
        rows = [self._split(line, self._delimiter) for line in lines[int(self._header) :]]
        [(usual, _)] = Counter(map(len, rows)).most_common(1) or [(width, 0)]
        if any("".join(row[width:]) for row in rows if len(row) == usual):
            return 0
        return max(0, usual - width)

    def _split(self, line: str, delimiter: str) -> list[str]:
        if len(delimiter.encode()) > 1:
            line, delimiter = line.replace(delimiter, _STAND_IN), _STAND_IN
        if self._quotes:
            rows = python_csv.reader([line], delimiter=delimiter)
        else:
            rows = python_csv.reader([line], delimiter=delimiter, quoting=python_csv.QUOTE_NONE)
        try:
            return [field.strip() for field in next(rows, [])]
        except python_csv.Error:  # a field above Python's limit of 128 kB
            return [line]

    def _no_header_hint(self) -> str:
        """Says how to name columns, where the first line looks like a row."""
        numbers = [name for name in self._columns if name.replace(".", "", 1).isdigit()]
        if not numbers or not self._header:
            return ""
        return (
            f" Its first line looks like a row and no header: `{self._first_line}`. Name its "
            "columns in their order, e.g. `--columns user,item,time`."
        )

    def _parsed(self, block: LineBlock, wanted: Sequence[str], last: bool) -> tuple[Block, bytes]:
        """Parses a block; returns also the lines of a row that goes on behind it."""
        text, lines = block.text, block.text.count(b"\n")
        numbers = np.arange(block.first, block.first + lines)
        blank = text.startswith((b"\n", b"\r\n")) or b"\n\n" in text or b"\n\r\n" in text
        simple = not blank and not (self._quotes and text.count(b'"') % 2)
        if simple and (found := self._parse(text, wanted, numbers)):
            return found, b""
        if not self._quotes:
            rows = [line for line in text.split(b"\n")[:-1]]
            kept = np.array([bool(row.strip()) for row in rows], bool)
            text = b"".join(row + b"\n" for row, keep in zip(rows, kept, strict=True) if keep)
            return self._require(self._parse(text, wanted, numbers[kept]), block), b""
        split = split_rows(block, self._character, len(self._columns), last)
        numbers = np.array(split.numbers, np.int64)
        found = self._parse(b"".join(split.rows), wanted, numbers, split.stray)
        if found is None:  # quotes that the two parsers take differently
            odd = [row.count(b'"') % 2 == 1 for row in split.rows]
            pairs = list(zip(split.rows, split.numbers, odd, strict=True))
            stray = [broken(number, STRAY, row) for row, number, is_odd in pairs if is_odd]
            text = b"".join(row for row, _, is_odd in pairs if not is_odd)
            kept = ~np.array(odd, bool)
            found = self._parse(text, wanted, numbers[kept], [*split.stray, *stray])
        return self._require(found, block), split.rest.text

    def _require(self, found: Block | None, block: LineBlock) -> Block:
        if found is None:
            end = block.first + block.text.count(b"\n")
            raise ValueError(
                f"`{self.name}`: the quotes between lines {block.first:,} and {end:,} cannot be "
                'matched. Double every `"` within a quoted value, or say `--no-quotes` if `"` is '
                "a character like others."
            )
        return found

    def _parse(
        self,
        text: bytes,
        wanted: Sequence[str],
        numbers: np.ndarray,
        stray: Sequence[Broken] = (),
    ) -> Block | None:
        """Parses rows; None where they are not as many as their numbers [n]."""
        names = [f"c{place}" for place in range(len(self._columns))]
        taken = [names[self._columns.index(name)] for name in wanted]
        ragged: list[Broken] = []
        skipped: list[int] = []

        def on_wrong_width(row: csv.InvalidRow) -> str:
            reason = f"{row.actual_columns} fields instead of {row.expected_columns}"
            if row.number <= len(numbers):
                line = row.text.replace(_STAND_IN, self._delimiter)
                ragged.append(broken(int(numbers[row.number - 1]), reason, line))
            skipped.append(row.number - 1)
            return "skip"

        if not len(numbers):
            empty = {name: pa.array([], pa.binary()) for name in wanted}
            return Block(pa.table(empty), numbers, stray)
        try:
            rows = csv.read_csv(
                pa.BufferReader(text),
                csv.ReadOptions(
                    column_names=names, use_threads=False, block_size=max(1 << 16, len(text) + 1)
                ),
                csv.ParseOptions(
                    delimiter=self._character,
                    quote_char='"' if self._quotes else False,
                    newlines_in_values=self._quotes,
                    ignore_empty_lines=False,
                    invalid_row_handler=on_wrong_width,
                ),
                csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.binary()),
                    include_columns=taken,
                ),
            )
        except pa.ArrowException:
            return None
        if rows.num_rows + len(skipped) != len(numbers):
            return None
        kept = np.delete(numbers, skipped)
        values = [cleaned(column.combine_chunks()) for column in rows]
        found = Block(pa.table(values, list(wanted)), kept, [*stray, *ragged])
        return self._without_headers(found)

    def _without_headers(self, block: Block) -> Block:
        """Leaves out rows that repeat the header, as where files were joined."""
        again = np.ones(len(block.numbers), bool)
        for name, column in zip(block.rows.column_names, block.rows.columns, strict=True):
            again &= np.asarray(pc.equal(column, name).fill_null(False))
            if not again.any():
                return block
        text = self._delimiter.join(self._columns)
        headers = [
            broken(number, "the header again", text) for number in block.numbers[again].tolist()
        ]
        rows = block.rows.filter(pa.array(~again))
        return Block(rows, block.numbers[~again], [*block.broken, *headers])
