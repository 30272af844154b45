"""The event log: the one form in which data enters the pipeline.

A directory with `events/*.parquet`, `catalogue/*.parquet`, `users/*.parquet`,
tables `features/<name>/*.parquet` of declared fields and `manifest.json`. This
module is its front: the schemas and the writer are defined beside it and
offered here.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tfx_pipeline.datasets.day_folders import DayRange
from tfx_pipeline.datasets.event_log_writer import EventLogShard
from tfx_pipeline.datasets.event_log_writer import EventLogWriter
from tfx_pipeline.datasets.event_log_writer import write_event_log
from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.schemas import CATALOGUE
from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from tfx_pipeline.datasets.schemas import EVENTS
from tfx_pipeline.datasets.schemas import EVENTS_TABLE
from tfx_pipeline.datasets.schemas import FEATURES_TABLE
from tfx_pipeline.datasets.schemas import IMPRESSION
from tfx_pipeline.datasets.schemas import MANIFEST_NAME
from tfx_pipeline.datasets.schemas import TABLES
from tfx_pipeline.datasets.schemas import USERS
from tfx_pipeline.datasets.schemas import USERS_TABLE
from tfx_pipeline.datasets.schemas import conform
from tfx_pipeline.datasets.table_files import parquet_files
from transforms.arrow import pa
from transforms.arrow import parquet_file
from transforms.storage import is_store
from transforms.storage import place

__all__ = [
    "CATALOGUE",
    "CATALOGUE_TABLE",
    "EVENTS",
    "EVENTS_TABLE",
    "IMPRESSION",
    "MANIFEST_NAME",
    "TABLES",
    "USERS",
    "USERS_TABLE",
    "EventLog",
    "EventLogShard",
    "EventLogWriter",
    "Manifest",
    "write_event_log",
]

_HASH_BLOCK = 1 << 22


class EventLog:
    """Reads an event log.

    Opening one looks at names only; `validate.validate_event_log` looks at
    what is inside.
    """

    def __init__(self, path: str | Path) -> None:
        """Opens an event log.

        Args:
            path: Its directory.

        Raises:
            FileNotFoundError: If the directory or its events are not there.
        """
        self.path = place(path)
        if not self.path.is_dir():
            raise FileNotFoundError(
                f"`{self.path}` is not a directory. An event log is a directory with "
                f"events/*.parquet, catalogue/*.parquet and {MANIFEST_NAME}; "
                f"`vitrine data prepare` makes one."
            )
        if not self.files(EVENTS_TABLE):
            raise FileNotFoundError(
                f"`{self.path}` has no {EVENTS_TABLE}/*.parquet, so it is not an event log. "
                f"`vitrine data validate` says what else is missing."
            )

    @functools.cached_property
    def manifest(self) -> Manifest:
        """The log's manifest."""
        return Manifest.read(self.path)

    def files(self, table: str) -> list[Path]:
        """Returns the Parquet files of `events`, `catalogue`, `users` or `features.<name>`."""
        return parquet_files(self.path, table)

    def events_files(self) -> list[Path]:
        """Returns the Parquet files of the events."""
        return self.files(EVENTS_TABLE)

    def catalogue_files(self) -> list[Path]:
        """Returns the Parquet files of the catalogue, which may be none."""
        return self.files(CATALOGUE_TABLE)

    def users_files(self) -> list[Path]:
        """Returns the Parquet files of the users, which may be none."""
        return self.files(USERS_TABLE)

    def row_groups(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yields a table's rows under its schema, a row group at a time, in the files' order.

        Raises:
            ValueError: If a file lacks a required column or has it in a type
                that does not convert.
        """
        wanted = TABLES[table].names if columns is None else list(columns)
        for path in self.files(table):
            with parquet_file(path) as file:
                for group in range(file.num_row_groups):
                    rows = file.read_row_group(group, columns=wanted)
                    yield conform(rows, table, wanted)

    def read(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Reads a whole table into memory; for catalogues and small logs."""
        pieces = list(self.row_groups(table, columns))
        if pieces:
            return pa.concat_tables(pieces)
        names = TABLES[table].names if columns is None else columns
        return TABLES[table].empty_table().select(names)

    def fingerprint(self, days: DayRange | None = None) -> str:
        """Returns a hash of the names and the content of all files.

        Every byte is hashed. A Parquet footer would be faster to read, but two
        files that differ in a few values of equal length have equal footers
        but for statistics, and a modification time changes with every copy.
        Hashing runs at the disk's pace on all cores, far above the rate of
        anything that reads the events afterwards.

        An object store has hashed its objects: their entity tags stand in for the bytes. So a
        log has another fingerprint there than on a disk.

        Args:
            days: Which folders of the events count; all by default.

        Raises:
            ValueError: There are no such folders.
        """
        files = (days or DayRange()).choose(self.files(EVENTS_TABLE), self.path)
        others = [table for table in (*TABLES, FEATURES_TABLE) if table != EVENTS_TABLE]
        files += [path for table in others for path in self.files(table)]
        manifest = self.path / MANIFEST_NAME
        if manifest.is_file():
            files.append(manifest)
        with ThreadPoolExecutor() as pool:  # hashlib releases the lock
            digests = list(pool.map(_content_hash, files))
        whole = hashlib.sha256()
        for path, digest in zip(files, digests, strict=True):
            whole.update(f"{path.relative_to(self.path).as_posix()}\0{digest}\n".encode())
        return whole.hexdigest()


def _content_hash(path: Path) -> str:
    """Hashes a file once for as long as its size and modification time stay."""
    if is_store(path):
        return path.etag() or hashlib.sha256(path.read_bytes()).hexdigest()
    status = path.stat()
    return _hash_file(path.absolute(), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=65_536)
def _hash_file(path: Path, size: int, modified: int) -> str:
    del size, modified  # only the key of the memory
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()
