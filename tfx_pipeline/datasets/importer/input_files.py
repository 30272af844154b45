"""Files to import: found by names, folders and patterns, and opened by what is in them."""

from __future__ import annotations

import codecs
import glob
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tfx_pipeline.datasets.importer.blocks import InputFile
from tfx_pipeline.datasets.importer.delimited_file import DelimitedFile
from tfx_pipeline.datasets.importer.delimited_file import Dialect
from tfx_pipeline.datasets.importer.json_lines import JsonLines
from tfx_pipeline.datasets.importer.parquet_file import MAGIC
from tfx_pipeline.datasets.importer.parquet_file import ParquetFile
from tfx_pipeline.datasets.importer.text_file import BLOCK_BYTES
from tfx_pipeline.datasets.importer.text_file import TextFile
from tfx_pipeline.datasets.importer.text_file import open_bytes
from tfx_pipeline.datasets.table_files import visible_files

_ARRAY = re.compile(rb"\s*\[\s*(\{|\Z)")  # of objects, of which the head may end before the first


class Reading(NamedTuple):
    """Settings by which files are read, as far as the user gives them.

    Attributes:
        dialect: Form of delimited text.
        encoding: Encoding of text; found by default.
        block_bytes: Bytes of text that are read at once.
    """

    dialect: Dialect = Dialect()
    encoding: str | None = None
    block_bytes: int = BLOCK_BYTES


def find_files(patterns: Sequence[str]) -> list[Path]:
    """Returns the files that names, folders and patterns stand for, each once.

    Args:
        patterns: `events.csv`, `exports/2024-*.csv.gz` (in the order of the names), or a
            folder, without its hidden files; see `visible_files`.

    Raises:
        FileNotFoundError: One of them stands for nothing.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        paths = [Path(pattern)]
        if not paths[0].exists():
            paths = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
        for path in paths:
            found |= dict.fromkeys([path] if path.is_file() else visible_files(path))
        if not any(path.exists() for path in paths):
            raise FileNotFoundError(
                f"There is no file `{pattern}`. Expected CSV, JSON lines or Parquet files, also "
                "gzipped, a folder of them, or a pattern such as `exports/*.csv.gz`."
            )
    if not found:
        raise FileNotFoundError(f"There is no file in {', '.join(patterns)}.")
    return list(found)


def open_input(path: Path, wanted: Sequence[str], reading: Reading) -> InputFile:
    """Opens a file; what it holds, and no name, says its format.

    Args:
        path: CSV or other delimited text, JSON lines or Parquet, plain or compressed.
        wanted: Columns that will be asked for.
        reading: What the user says.

    Raises:
        ValueError: The file is empty, damaged or of no such format.
    """
    with open_bytes(path) as stream:
        start = stream.read(len(MAGIC))
    if start == MAGIC:
        return ParquetFile(path)
    text = TextFile(path, _checked(reading.encoding), reading.block_bytes)
    first = text.head.lstrip()[:1]
    if first == b"{":
        return JsonLines(text)
    if first == b"[" and (".json" in path.name.lower() or _ARRAY.match(text.head)):
        raise ValueError(
            f"`{path}` is one JSON array; expected JSON lines, an object on each line. "
            "`jq -c '.[]' FILE` makes them."
        )
    return DelimitedFile(text, wanted, reading.dialect)


def _checked(encoding: str | None) -> str | None:
    """Returns an encoding by its name in Python.

    Raises:
        ValueError: There is none of this name.
    """
    if encoding is None:
        return None
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)
        return name
    except LookupError:
        raise ValueError(
            f"`--encoding {encoding}` is not an encoding. Usual ones are utf-8, cp1252, latin-1, "
            "utf-16, shift_jis, gb18030."
        ) from None
