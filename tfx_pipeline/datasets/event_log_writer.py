"""Writes event logs: in streams, in parallel shards, and whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from tfx_pipeline.datasets.schemas import EVENTS_TABLE
from tfx_pipeline.datasets.schemas import MANIFEST_NAME
from tfx_pipeline.datasets.schemas import ROW_GROUP_ROWS
from tfx_pipeline.datasets.schemas import TABLES
from tfx_pipeline.datasets.schemas import USERS_TABLE
from tfx_pipeline.datasets.schemas import conform
from tfx_pipeline.datasets.schemas import require_values
from transforms.arrow import pa
from transforms.arrow import pq
from transforms.storage import is_store
from transforms.storage import place
from transforms.stored_folders import upload

ROW_GROUPS_PER_FILE = 16
_COMPRESSION = "zstd"


class EventLogShard:
    """Writes one shard's share of the tables into a directory.

    Rows are kept until a row group is full, so calls may be as small as they
    come and memory stays at one row group a table. Shards of different numbers
    share a directory without meeting, also from different processes:

        with EventLogWriter(path, manifest) as writer:
            pool.starmap(write_shard, [(writer.directory, n) for n in range(8)])

    where `write_shard` opens `EventLogShard(directory, n)`.
    """

    def __init__(self, directory: str | Path, shard: int = 0) -> None:
        """Opens a shard.

        Args:
            directory: Directory of an event log in the making.
            shard: Number of the shard; it is part of the file names.
        """
        self.directory = Path(directory)
        self.shard = shard
        self._pending: dict[str, list[pa.Table]] = {name: [] for name in TABLES}
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._files = dict.fromkeys(TABLES, 0)
        self._groups = dict.fromkeys(TABLES, 0)
        for name in TABLES:
            Path(self.directory, name).mkdir(parents=True, exist_ok=True)

    def write_events(self, rows: pa.Table) -> None:
        """Appends rows of the events table."""
        self._write(EVENTS_TABLE, rows)

    def write_catalogue(self, rows: pa.Table) -> None:
        """Appends rows of the catalogue."""
        self._write(CATALOGUE_TABLE, rows)

    def write_users(self, rows: pa.Table) -> None:
        """Appends rows of the users table."""
        self._write(USERS_TABLE, rows)

    def close(self) -> None:
        """Writes what is pending and closes the files."""
        for name, pending in self._pending.items():
            if pending:
                self._flush(name, pa.concat_tables(pending))
            pending.clear()
        self._close_files()

    def __enter__(self) -> EventLogShard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self._close_files()

    def _close_files(self) -> None:
        while self._writers:
            self._writers.popitem()[1].close()

    def _write(self, name: str, rows: pa.Table) -> None:
        rows = conform(rows, name)
        require_values(rows, name)
        pending = self._pending[name]
        pending.append(rows)
        size = ROW_GROUP_ROWS[name]
        if sum(table.num_rows for table in pending) < size:
            return
        table = pa.concat_tables(pending)
        whole = table.num_rows - table.num_rows % size
        for start in range(0, whole, size):
            self._flush(name, table.slice(start, size))
        pending[:] = [table.slice(whole)] if whole < table.num_rows else []

    def _flush(self, name: str, row_group: pa.Table) -> None:
        if not row_group.num_rows:
            return
        if name not in self._writers:
            part = f"part-{self.shard:05d}-{self._files[name]:05d}.parquet"
            self._writers[name] = pq.ParquetWriter(
                Path(self.directory, name, part), TABLES[name], compression=_COMPRESSION
            )
            self._files[name] += 1
        self._writers[name].write_table(row_group, row_group_size=row_group.num_rows)
        self._groups[name] += 1
        if self._groups[name] % ROW_GROUPS_PER_FILE == 0:
            self._writers.pop(name).close()


class EventLogWriter(EventLogShard):
    """Writes a whole event log; the target appears complete or not at all.

    Everything goes to a temporary directory beside the target, which is
    renamed when the `with` block ends well and removed when it does not. An
    object store renames nothing: there `manifest.json` goes last. The
    counts of the manifest are taken from the files, whoever wrote them.
    """

    def __init__(self, path: str | Path, manifest: Manifest, overwrite: bool = False) -> None:
        """Opens a writer.

        Args:
            path: Directory to be made.
            manifest: Name, source and kind of time; its counts are filled in.
            overwrite: Whether an event log at `path` may be replaced.

        Raises:
            FileExistsError: If something is at `path` that may not be replaced.
        """
        self.path = place(path).absolute()
        self.manifest = manifest
        self._overwrite = overwrite
        self._check_target()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = None if is_store(self.path) else self.path.parent
        directory = tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=beside)
        Path(directory).chmod(0o755)
        super().__init__(directory)

    def close(self) -> None:
        """Completes the files, writes the manifest and renames the directory."""
        super().close()
        for name, schema in TABLES.items():
            folder = Path(self.directory, name)
            if not any(folder.iterdir()):  # an empty table keeps its schema
                pq.write_table(schema.empty_table(), Path(folder, "part-00000-00000.parquet"))
        self.manifest = self.manifest.with_counts(self.directory)
        self.manifest.write(self.directory)
        self._check_target()
        target = self.path
        if is_store(target):
            upload(self.directory, target, last=MANIFEST_NAME)
            shutil.rmtree(self.directory)
            self.directory = self.path
            return
        old = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
        if self.path.exists():
            self.path.rename(old / "replaced")
        self.directory.rename(self.path)
        shutil.rmtree(old, ignore_errors=True)
        self.directory = self.path

    def __enter__(self) -> EventLogWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            if self.directory != self.path:
                shutil.rmtree(self.directory, ignore_errors=True)

    def _check_target(self) -> None:
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return
        if not self._overwrite:
            raise FileExistsError(
                f"`{self.path}` exists already. Use it as it is, choose another directory, or "
                f"replace it with `--overwrite`."
            )
        if not (self.path / MANIFEST_NAME).is_file():
            raise FileExistsError(
                f"`{self.path}` is not an event log (it has no {MANIFEST_NAME}), so it is not "
                f"overwritten. Choose another directory, or remove it yourself."
            )


def write_event_log(
    path: str | Path,
    manifest: Manifest,
    events: pa.Table | Iterable[pa.Table],
    catalogue: pa.Table | Iterable[pa.Table] = (),
    users: pa.Table | Iterable[pa.Table] = (),
    overwrite: bool = False,
) -> Manifest:
    """Writes an event log from tables or streams of tables.

    Args:
        path: Directory to be made; it appears complete or not at all.
        manifest: Name, source and kind of time; its counts are filled in.
        events: Rows of the events table (see `schemas.EVENTS`).
        catalogue: Rows of the catalogue.
        users: Rows of the users table.
        overwrite: Whether an event log at `path` may be replaced.

    Returns:
        The manifest as written, with its counts.

    Raises:
        FileExistsError: If something is at `path` that may not be replaced.
        ValueError: If rows do not fit the schema.
    """
    with EventLogWriter(path, manifest, overwrite) as writer:
        for tables, write in (
            (events, writer.write_events),
            (catalogue, writer.write_catalogue),
            (users, writer.write_users),
        ):
            for table in [tables] if isinstance(tables, pa.Table) else tables:
                write(table)
    return writer.manifest
