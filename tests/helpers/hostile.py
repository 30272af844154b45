"""Files that run code when a reader without the hotfix opens them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


class _Payload(pa.PyExtensionType):
    """Pickled into the schema; unpickling it makes a directory."""

    def __init__(self, storage: pa.DataType, marker: Path) -> None:
        self.marker = marker
        pa.PyExtensionType.__init__(self, storage)

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def hostile(table: pa.Table, column: str, marker: Path) -> pa.Table:
    """Returns a table of which one column's type makes the directory `marker` when it is read."""
    values = table[column].combine_chunks()
    unsafe = pa.ExtensionArray.from_storage(_Payload(values.type, marker), values)
    return table.set_column(table.schema.get_field_index(column), column, unsafe)


def make_hostile(path: Path, column: str, marker: Path) -> None:
    """Turns a Parquet file into one that makes the directory `marker` when it is read."""
    table = pq.read_table(path)
    path.unlink()  # it may be a hard link
    pq.write_table(hostile(table, column, marker), path)
