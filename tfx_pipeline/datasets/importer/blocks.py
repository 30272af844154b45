"""Blocks of rows: the form in which files of every format are read, one after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from collections.abc import Sequence
from typing import NamedTuple
from typing import Protocol

import numpy as np

from transforms.arrow import pa
from transforms.nearest import nearest

_SHOWN_CHARACTERS = 500


class Broken(NamedTuple):
    """A row that cannot be split into columns.

    Attributes:
        number: Its number in the file, from 1.
        reason: What is wrong with it.
        text: The row as it stands there, or its beginning.
    """

    number: int
    reason: str
    text: str


class Block(NamedTuple):
    """Consecutive rows of a file.

    Attributes:
        rows: Their columns that are wanted; text may be binary.
        numbers: [n] int64, each row's number in the file, from 1: a text file's line.
        broken: Rows between them that cannot be split into columns.
    """

    rows: pa.Table
    numbers: np.ndarray
    broken: Sequence[Broken] = ()


class InputFile(Protocol):
    """A file of rows.

    Attributes:
        name: Its path, for messages.
        format: Its format in words.
    """

    name: str
    format: str

    def require(self, wanted: Sequence[str]) -> None:
        """Checks that columns are there.

        Raises:
            ValueError: One is not, or the file cannot be read.
        """

    def blocks(self, wanted: Sequence[str]) -> Iterator[Block]:
        """Reads columns that are there, a block of bounded size at a time.

        Raises:
            ValueError: The file cannot be read.
        """


def broken(number: int, reason: str, text: str | bytes) -> Broken:
    """Returns a broken row with no more of its text than somebody reads."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    return Broken(number, reason, text.rstrip("\r\n")[:_SHOWN_CHARACTERS])


def require_columns(file: str, names: Sequence[str], wanted: Sequence[str], hint: str = "") -> None:
    """Checks that a file has each wanted column once.

    Args:
        file: Name of the file.
        names: Columns that it has.
        wanted: Columns that are asked for.
        hint: What else may be said when one is missing.

    Raises:
        ValueError: One is missing, and the message has the nearest; or one is there twice.
    """
    for name in wanted:
        count = Counter(names)[name]
        if not count:
            shown = ", ".join(f"`{other}`" for other in names[:30])
            raise ValueError(
                f"`{file}` has no column `{name}`{nearest(name, names)}. It has {shown}.{hint}"
            )
        if count > 1:
            raise ValueError(
                f"`{file}` has {count} columns that are called `{name}`, so it is not clear which "
                "one is meant. Rename all but one, or give every column a name with `--columns`."
            )
