"""The one door to Arrow, which refuses files that would run code.

Before 14.0.1, pyarrow unpickles the extension types that the schema of a Parquet or IPC file
names (CVE-2023-47248), so that opening a file can run anything. `pyarrow_hotfix` switches
that off for the process. Nothing else imports `pyarrow` (Ruff and a test see to it):

    from transforms.arrow import pa, pc, pq

Files may be in an object store: `parquet_file` opens what `transforms.storage.place` returns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.fs as pafs
import pyarrow.json as pajson
import pyarrow.parquet as pq
import pyarrow_hotfix  # noqa: F401  (before Beam's import of it, which then leaves `_Refused` alone)

__all__ = [
    "UnsafeFileError",
    "csv",
    "pa",
    "pafs",
    "pajson",
    "parquet_dataset",
    "parquet_file",
    "pc",
    "pq",
    "read_table",
]

_PICKLED = "arrow.py_extension_type"


class UnsafeFileError(pa.ArrowInvalid):
    """A file would run code when it is read."""


class _Refused(pa.ExtensionType):
    """Stands where the hotfix refuses, with an error that who reads files expects."""

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Any:
        raise UnsafeFileError(
            f"A column of {storage_type} in this file carries the extension type `{_PICKLED}`, "
            "a pickle that would run code when it is read (CVE-2023-47248), so the file is "
            "refused. Write the column as a plain type; if you did not put the type there, "
            "do not trust the file."
        )


if hasattr(pa, "PyExtensionType"):  # pyarrow 21 no longer knows it
    pa.unregister_extension_type(_PICKLED)
    pa.register_extension_type(_Refused(pa.null(), _PICKLED))


@contextlib.contextmanager
def parquet_file(path: str | Path, buffer_size: int = 0) -> Iterator[pq.ParquetFile]:
    """Opens a Parquet file here or in an object store; only what is read of it is fetched.

    Args:
        path: Where it is; an address or what `transforms.storage.place` returns.
        buffer_size: Bytes that are read at once; 0 reads a column's whole share of a row group.

    Raises:
        OSError: It cannot be read.
        pyarrow.ArrowInvalid: It is no Parquet file, or is refused.
        transforms.storage.StoreError: The store refuses, or does not answer.
    """
    from transforms import storage

    found = storage.place(path)
    if not storage.is_store(found):
        with pq.ParquetFile(found, buffer_size=buffer_size) as file:
            yield file
        return
    with storage.explained(found), found.open() as source:
        # Columns that lie close together come with one request instead of one each.
        pre_buffer = not buffer_size
        with pq.ParquetFile(source, buffer_size=buffer_size, pre_buffer=pre_buffer) as file:
            yield file


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Reads a Parquet file, or some of its columns, into memory.

    Stands in for `pq.read_table`, which opens a dataset: threads of one that fails to
    open may abort the process when it ends.

    Raises:
        pyarrow.ArrowInvalid: It is no Parquet file, or is refused; the message names it.
    """
    try:
        with parquet_file(path) as file:
            return file.read(None if columns is None else list(columns))
    except pa.ArrowInvalid as error:
        raise type(error)(f"`{path}` cannot be read: {error}") from error


def parquet_dataset(files: Sequence[Path]) -> Any:
    """Opens Parquet files, all here or all in one bucket, as one `pyarrow.dataset.Dataset`.

    Raises:
        pyarrow.ArrowInvalid: One of them is no Parquet file, or is refused.
    """
    from pyarrow import dataset  # it imports pandas, which takes as long as all of the above

    from transforms import storage

    for file in files:  # before a thread does, see `read_table`
        read_table(file, [])
    first = files[0] if files else None
    if storage.is_store(first):
        keys = [str(file.key) for file in cast(Any, files)]
        return dataset.dataset(keys, format="parquet", filesystem=first.filesystem)
    return dataset.dataset(files, format="parquet")
