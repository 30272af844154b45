"""Files in folders: those of an event log's tables, and no hidden ones."""

from __future__ import annotations

from pathlib import Path

from transforms.storage import files_below
from transforms.storage import place

SUFFIX = ".parquet"


def folder_of(table: str) -> str:
    """Returns the folder of a table, below the log's: `features/style` of `features.style`."""
    return table.replace(".", "/")


def visible_files(folder: Path) -> list[Path]:
    """Returns the files below a folder, sorted by path, without hidden ones.

    A file is hidden when its name, or that of a folder between, begins with `.` or `_`, such as
    `_SUCCESS`, `_delta_log/` and `.ipynb_checkpoints/`.
    """
    return [
        path
        for path in files_below(folder)
        if not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    ]


def all_files(root: str | Path, table: str) -> list[Path]:
    """Returns the files of a table, sorted by path, those of partitioned folders too.

    A table may be divided among folders (`events/day=2024-05-01/*.parquet`), as
    Spark and Hive write it. Their names are not read: a column has to be in the
    files. Hidden files are none of the table's; see `visible_files`.

    Args:
        root: Directory of the event log.
        table: `events`, `catalogue`, `users`, or `features.<name>`.
    """
    return visible_files(place(root) / folder_of(table))


def parquet_files(root: str | Path, table: str) -> list[Path]:
    """Returns those of `all_files` that are Parquet by their names."""
    return [path for path in all_files(root, table) if path.suffix == SUFFIX]


def place_of(table: str, root: Path, made: Path | None) -> Path:
    """Returns the directory that a table is read from: what a run has made, before the log.

    Args:
        table: Its name.
        root: The log's directory.
        made: A directory with some of the tables.
    """
    return made if made and parquet_files(made, table) else root
