"""Refuses directories that hold pickles: loading one can run any code."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np

_SUFFIXES = {".pkl", ".pickle", ".dill", ".joblib"}
_PROTOCOLS = (2, 3, 4, 5)


class PickledFileError(ValueError):
    """A directory that should hold none has a pickle."""


def refuse_pickles(path: Path) -> None:
    """Looks for pickles among the files at and below a directory.

    A pickle is recognised by its name, by the first and last bytes of
    protocols 2 to 5, or as an npy file of Python objects.

    Raises:
        PickledFileError: A file is one.
    """
    for file in sorted(path.rglob("*")):
        if file.is_file() and (file.suffix.lower() in _SUFFIXES or _looks_pickled(file)):
            raise PickledFileError(
                f"`{file}` is a pickle, and loading one can run any code. Nothing that this "
                "project writes is one: see where it came from, and build the directory again."
            )


def _looks_pickled(file: Path) -> bool:
    with file.open("rb") as stream:
        head = stream.read(2)
        if head == b"\x93N":
            stream.seek(0)
            return _holds_objects(stream)
        if len(head) < 2 or head[0] != 0x80 or head[1] not in _PROTOCOLS:
            return False
        stream.seek(-1, 2)
        return stream.read(1) == b"."


def _holds_objects(stream: IO[bytes]) -> bool:
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        return bool(read(stream)[2].hasobject)
    except ValueError:
        return False  # not an npy file after all; reading it as one will fail
