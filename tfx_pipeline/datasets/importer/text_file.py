"""Text files as UTF-8 lines, whatever their compression and encoding, in blocks."""

from __future__ import annotations

import codecs
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from typing import NamedTuple

from tfx_pipeline.datasets.archive_members import COMPRESSIONS

BLOCK_BYTES = 16 << 20
MAX_LINE_BYTES = 64 << 20
SAMPLE_BYTES = 1 << 20
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like that of UTF-16
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHERS = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook; unpack it, or export it as CSV"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; decompress it, or compress it with gzip"),
    (b"\x04\x22\x4d\x18", "compressed with lz4; decompress it, or compress it with gzip"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook; export it as CSV"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV"),
    (b"ARROW1", "an Arrow file; write it as Parquet"),
)


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file for reading, decompressed if it is compressed with gzip, bzip2 or xz.

    Raises:
        ValueError: The compressed data is damaged or incomplete, also while it is read.
    """
    with path.open("rb") as file:
        start = file.read(8)
    opener = next((o for magic, o in COMPRESSIONS.items() if start.startswith(magic)), None)
    if opener is None:
        with path.open("rb") as file:
            yield file
        return
    try:
        with opener(path, "rb") as stream:
            yield stream
    except _DAMAGE as error:
        raise ValueError(
            f"`{path}` cannot be decompressed: it is damaged or incomplete ({error}). Fetch or "
            "compress it again."
        ) from error


class LineBlock(NamedTuple):
    """Consecutive lines of a text file.

    Attributes:
        first: Number of the first line, from 1.
        text: The lines in UTF-8, each with its end.
    """

    first: int
    text: bytes


class TextFile:
    """Reads a text file, a block of lines at a time.

    Attributes:
        path: The file.
        encoding: Its encoding.
        head: Its first lines, at most `SAMPLE_BYTES` of UTF-8, without a byte order mark.
    """

    def __init__(self, path: Path, encoding: str | None = None, size: int = BLOCK_BYTES) -> None:
        """Opens a file and looks at its beginning.

        Args:
            path: The file.
            encoding: Its encoding; UTF-8 by default, or what a byte order mark says.
            size: Bytes of a block.

        Raises:
            ValueError: The file is empty, is no text, or its encoding has to be said.
        """
        self.path = path
        self._size = size
        with open_bytes(path) as stream:
            sample = stream.read(SAMPLE_BYTES)
        if not sample.strip():
            raise ValueError(f"`{path}` is empty. Write it again, or leave it out.")
        for magic, told in _OTHERS:
            if sample.startswith(magic):
                raise ValueError(f"`{path}` is {told}.")
        self.encoding = encoding or _find_encoding(path, sample)
        self.head = next(iter(self._text_blocks(SAMPLE_BYTES))).text
        lines = self.head.rstrip(b"\r\n")
        if b"\r" in lines and b"\n" not in lines:
            raise ValueError(
                f"`{path}` ends its lines with carriage returns alone, as old Macintoshes did. "
                "Convert them to line feeds, e.g. with `tr '\\r' '\\n'`."
            )

    def line_blocks(self) -> Iterator[LineBlock]:
        """Yields all lines in blocks.

        Raises:
            ValueError: The text is not of its encoding, a line is too long, or the compressed data
                is damaged.
        """
        return self._text_blocks(self._size)

    def _text_blocks(self, size: int) -> Iterator[LineBlock]:
        first, rest = 1, b""
        for text in self._pieces(size):
            cut = text.rfind(b"\n") + 1
            if not cut:
                rest += text
                if len(rest) > MAX_LINE_BYTES:
                    raise ValueError(
                        f"`{self.path}`: line {first:,} is longer than {MAX_LINE_BYTES >> 20} MB. "
                        "Is it a file of lines?"
                    )
                continue
            block = rest + text[:cut]
            yield LineBlock(first, block)
            first, rest = first + block.count(b"\n"), text[cut:]
        if rest:
            yield LineBlock(first, rest + b"\n")

    def _pieces(self, size: int) -> Iterator[bytes]:
        """Yields the text in UTF-8, in pieces of about a size."""
        with open_bytes(self.path) as stream:
            if self.encoding in ("utf-8", "utf-8-sig"):  # whether it is, its reader looks at
                piece = stream.read(size).removeprefix(codecs.BOM_UTF8)
                while piece:
                    yield piece
                    piece = stream.read(size)
                return
            text = io.TextIOWrapper(stream, self.encoding, newline="")
            try:
                while piece := text.read(size).encode():
                    yield piece
            except UnicodeError as error:
                raise ValueError(
                    f"`{self.path}` is not text in {self.encoding}: {error}. Say its encoding with "
                    "`--encoding`."
                ) from error


def _find_encoding(path: Path, sample: bytes) -> str:
    """Returns the encoding that the beginning of a file shows."""
    for mark, name in _BOMS:
        if sample.startswith(mark):
            return name
    if b"\0" in sample:
        raise ValueError(
            f"`{path}` holds zero bytes, so it is no text, or UTF-16 without a byte order mark. "
            "If it is text, say `--encoding utf-16-le` or `--encoding utf-16-be`."
        )
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # may end within a character
    except UnicodeDecodeError as error:
        line = sample.count(b"\n", 0, error.start) + 1
        start = sample.rfind(b"\n", 0, error.start) + 1
        shown = sample[max(start, error.start - 20) : error.end + 20].split(b"\n")[0]
        text = shown.decode("utf-8", "backslashreplace")
        raise ValueError(
            f"`{path}` is not UTF-8: line {line:,} has `{text}`. Say its encoding, most often "
            f"`--encoding cp1252` (Windows; here `{shown.decode('cp1252', 'replace')}`) or "
            "`--encoding latin-1`. If single rows alone are damaged, `--encoding utf-8` makes "
            "those dead letters."
        ) from None
    return "utf-8"
