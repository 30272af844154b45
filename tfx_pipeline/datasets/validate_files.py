"""Checks of an event log that need no row: folders, files, columns and types."""

from __future__ import annotations

import difflib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tfx_pipeline.datasets.convert import TIME_COLUMNS
from tfx_pipeline.datasets.convert import converts
from tfx_pipeline.datasets.convert import is_time_by_guess
from tfx_pipeline.datasets.problem import SAMPLES
from tfx_pipeline.datasets.problem import Findings
from tfx_pipeline.datasets.problem import Problem
from tfx_pipeline.datasets.problem import Severity
from tfx_pipeline.datasets.problem import counted
from tfx_pipeline.datasets.problem import plain_value
from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from tfx_pipeline.datasets.schemas import EVENTS_TABLE
from tfx_pipeline.datasets.schemas import TABLES
from tfx_pipeline.datasets.schemas import USERS_TABLE
from tfx_pipeline.datasets.table_files import all_files
from tfx_pipeline.datasets.table_files import parquet_files
from transforms.arrow import UnsafeFileError
from transforms.arrow import pa
from transforms.arrow import pq

_MAGIC = b"PAR1"


@dataclass(frozen=True)
class TableFile:
    """A Parquet file that can be read.

    Attributes:
        path: Where it is.
        name: Its path below the log's directory.
        rows: How many rows it has.
        columns: Its columns of the table's schema whose types will do.
    """

    path: Path
    name: str
    rows: int
    columns: tuple[str, ...]


def check_files(root: Path, findings: Findings) -> dict[str, list[TableFile]]:
    """Checks folders, files, columns and types.

    Args:
        root: The log's directory.
        findings: Receives the problems.

    Returns:
        The readable files of each table.
    """
    return {name: _check_table(root, name, findings) for name in TABLES}


def _check_table(root: Path, table: str, findings: Findings) -> list[TableFile]:
    paths = parquet_files(root, table)
    others = sorted(set(all_files(root, table)) - set(paths))
    _report_other_files(root, table, others, findings)
    if not paths:
        _report_missing_table(table, findings)
    unreadable: dict[tuple[str, str], list[Path]] = defaultdict(list)
    schemas: dict[Path, tuple[pa.Schema, int]] = {}
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                schemas[path] = file.schema_arrow, file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            unreadable[_why_unreadable(path, error)].append(path)
    for (kind, why), bad in unreadable.items():
        samples = tuple({"file": str(p.relative_to(root))} for p in bad[:SAMPLES])
        findings.add(Problem("error", kind, table, None, len(bad), why, samples))
    _report_missing_columns(root, table, schemas, findings)
    wrong = _report_wrong_types(root, table, schemas, findings)
    return [
        TableFile(
            path,
            str(path.relative_to(root)),
            rows,
            tuple(c for c in TABLES[table].names if c in schema.names and (path, c) not in wrong),
        )
        for path, (schema, rows) in schemas.items()
    ]


def _report_missing_table(table: str, findings: Findings) -> None:
    say: dict[str, tuple[Severity, str]] = {
        EVENTS_TABLE: ("error", "What users did is what everything is learned from."),
        CATALOGUE_TABLE: ("error", "Only entities of the catalogue are recommended."),
        USERS_TABLE: ("info", "It is optional: users then have no attributes."),
    }
    severity, why = say[table]
    message = f"There is no {table}/*.parquet. {why} Expected the columns {TABLES[table].names}."
    findings.add(Problem(severity, "missing-table", table, None, 1, message))


def _report_other_files(root: Path, table: str, paths: list[Path], findings: Findings) -> None:
    if paths:
        samples = tuple({"file": str(p.relative_to(root))} for p in paths[:SAMPLES])
        message = (
            f"Found {counted(len(paths), 'file')} without the ending .parquet, which nothing "
            f"reads. Convert to Parquet, or move away."
        )
        findings.add(Problem("warning", "unread-file", table, None, len(paths), message, samples))


def _why_unreadable(path: Path, error: Exception) -> tuple[str, str]:
    """Returns a kind of problem and what to do about it."""
    if isinstance(error, UnsafeFileError):
        return "unsafe-file", str(error)
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        return "not-parquet", "The file is empty. Write it again, or remove it."
    if start == _MAGIC:
        why = "The Parquet file is incomplete or damaged: its end is missing. Write it again."
        return "truncated-file", why
    return (
        "not-parquet",
        f"The file is not Parquet (it starts with {start!r}). Convert it. ({error})",
    )


def _report_missing_columns(
    root: Path, table: str, schemas: dict[Path, tuple[pa.Schema, int]], findings: Findings
) -> None:
    known = TABLES[table]
    missing: dict[str, list[Path]] = defaultdict(list)
    unknown: dict[str, list[Path]] = defaultdict(list)
    for path, (schema, _) in schemas.items():
        for field in known:
            if field.name not in schema.names and not field.nullable:
                missing[field.name].append(path)
        for name in schema.names:
            if name not in known.names:
                unknown[name].append(path)
    for name, paths in missing.items():
        near = difflib.get_close_matches(name, unknown, n=1)
        hint = f" Is it the column `{near[0]}`? Rename it." if near else ""
        rows = sum(schemas[p][1] for p in paths)
        samples = tuple({"file": str(p.relative_to(root))} for p in paths[:SAMPLES])
        message = (
            f"The column is missing in {len(paths)} of {counted(len(schemas), 'file')}; expected "
            f"{known.field(name).type}.{hint}"
        )
        findings.add(Problem("error", "missing-column", table, name, rows, message, samples))
    for name, paths in unknown.items():
        samples = tuple({"file": str(p.relative_to(root))} for p in paths[:SAMPLES])
        message = (
            f"The table has no such column, so it is not read; it has {known.names}. Rename it, "
            f'put it into `attributes` as "key=value", or drop it.'
        )
        findings.add(
            Problem("warning", "unknown-column", table, name, len(paths), message, samples)
        )


def _report_wrong_types(
    root: Path, table: str, schemas: dict[Path, tuple[pa.Schema, int]], findings: Findings
) -> set[tuple[Path, str]]:
    """Reports columns of types that do not convert, and returns where they are."""
    wrong: dict[tuple[str, str], list[Path]] = defaultdict(list)
    guessed: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path, (schema, _) in schemas.items():
        for field in TABLES[table]:
            if field.name not in schema.names:
                continue
            kind = schema.field(field.name).type
            if not converts(kind, field):
                wrong[field.name, str(kind)].append(path)
            elif field.name in TIME_COLUMNS and is_time_by_guess(kind):
                guessed[field.name, str(kind)].append(path)
    for (name, kind), paths in guessed.items():
        message = (
            f"Found {kind} in {counted(len(paths), 'file')}, which has to be parsed or rounded "
            f"each time it is read; expected int64 microseconds since the epoch, or an Arrow "
            f"timestamp."
        )
        samples = _look_at(paths[0], root, name)
        rows = sum(schemas[p][1] for p in paths)
        findings.add(Problem("warning", "time-by-guess", table, name, rows, message, samples))
    for (name, kind), paths in wrong.items():
        expected = TABLES[table].field(name).type
        if name in TIME_COLUMNS:
            expected = "int64 microseconds since the epoch, or an Arrow timestamp"
        message = (
            f"Found {kind} in {counted(len(paths), 'file')}; expected {expected}. Cast it where "
            f"the log is written{_how_to_cast(name, expected)}."
        )
        samples = _look_at(paths[0], root, name)
        rows = sum(schemas[p][1] for p in paths)
        findings.add(Problem("error", "wrong-type", table, name, rows, message, samples))
    return {(path, name) for (name, _), paths in wrong.items() for path in paths}


def _how_to_cast(name: str, expected: pa.DataType | str) -> str:
    """Says how a column becomes text, which is the usual need."""
    if expected != pa.string():
        return ""
    return f': `df["{name}"] = df["{name}"].astype("string")` with pandas'


def _look_at(path: Path, root: Path, column: str) -> tuple[dict[str, object], ...]:
    """Returns a few values of a column as samples."""
    try:
        with pq.ParquetFile(path) as file:
            batch = next(file.iter_batches(SAMPLES, columns=[column]), None)
    except (pa.ArrowException, OSError):
        batch = None  # that the file is damaged is said elsewhere
    if batch is None:
        return ()
    name = str(path.relative_to(root))
    return tuple(
        {"file": name, "row": i, column: plain_value(value)}
        for i, value in enumerate(batch.column(0))
    )
