"""Checks of an event log that need no row: folders, files, columns and types."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfx_pipeline.datasets.convert import TIME_COLUMNS
from tfx_pipeline.datasets.convert import converts
from tfx_pipeline.datasets.convert import is_time_by_guess
from tfx_pipeline.datasets.day_folders import DayRange
from tfx_pipeline.datasets.problem import SAMPLES
from tfx_pipeline.datasets.problem import Findings
from tfx_pipeline.datasets.problem import Problem
from tfx_pipeline.datasets.problem import counted
from tfx_pipeline.datasets.problem import plain_value
from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from tfx_pipeline.datasets.schemas import EVENTS_TABLE
from tfx_pipeline.datasets.schemas import TABLES
from tfx_pipeline.datasets.schemas import USERS_TABLE
from tfx_pipeline.datasets.schemas import is_features
from tfx_pipeline.datasets.table_files import all_files
from tfx_pipeline.datasets.table_files import parquet_files
from transforms.arrow import UnsafeFileError
from transforms.arrow import pa
from transforms.arrow import parquet_file

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


def check_files(
    root: Path, findings: Findings, days: DayRange | None = None
) -> dict[str, list[TableFile]]:
    """Checks folders, files, columns and types.

    Args:
        root: The log's directory.
        findings: Receives the problems.
        days: Which folders of the events are read; all by default.

    Returns:
        The readable files of each table.

    Raises:
        ValueError: There are no such folders.
    """
    found = {}
    for table in TABLES:
        paths = parquet_files(root, table)
        others = sorted(set(all_files(root, table)) - set(paths))
        report_other_files(root, table, others, findings)
        if days and table == EVENTS_TABLE:
            paths = days.choose(paths, root)
        if not paths:
            _report_missing_table(table, findings)
        found[table] = check_table(root, table, paths, findings)
        if found[table] and not sum(file.rows for file in found[table]):
            _report_empty_table(table, findings)
    return found


def check_table(
    root: Path,
    table: str,
    paths: Iterable[Path],
    findings: Findings,
    schema: pa.Schema | None = None,
) -> list[TableFile]:
    """Checks files, columns and types of one table.

    Args:
        root: The directory below which the files are named.
        table: `events`, `catalogue`, `users`, or `features.<name>`.
        paths: Its files.
        findings: Receives the problems.
        schema: What is read of it; all that a table of its name may have by default.

    Returns:
        The readable files.
    """
    known = schema or TABLES[table]
    unreadable: dict[tuple[str, str], list[Path]] = defaultdict(list)
    schemas: dict[Path, tuple[pa.Schema, int]] = {}
    for path in paths:
        try:
            with parquet_file(path) as file:
                schemas[path] = file.schema_arrow, file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            unreadable[_why_unreadable(path, error)].append(path)
    for (kind, why), bad in unreadable.items():
        findings.add(Problem(kind, table, None, len(bad), why, _files(bad, root)))
    _report_missing_columns(root, table, known, schemas, findings)
    unusable = _report_repeated_columns(root, table, known, schemas, findings)
    unusable |= _report_wrong_types(root, table, known, schemas, unusable, findings)
    return [
        TableFile(
            path,
            str(path.relative_to(root)),
            rows,
            tuple(
                name
                for name in known.names
                if name in schema.names and (path, name) not in unusable
            ),
        )
        for path, (schema, rows) in schemas.items()
    ]


def _files(paths: Sequence[Path], root: Path) -> tuple[dict[str, object], ...]:
    """Returns a few files as samples."""
    return tuple({"file": str(path.relative_to(root))} for path in paths[:SAMPLES])


def _report_missing_table(table: str, findings: Findings) -> None:
    why = {
        EVENTS_TABLE: "What users did is what everything is learned from.",
        CATALOGUE_TABLE: "Only entities of the catalogue are recommended.",
        USERS_TABLE: "It is optional: users then have no attributes.",
    }[table]
    message = f"There is no {table}/*.parquet. {why} Expected the columns {TABLES[table].names}."
    kind = "missing-users" if table == USERS_TABLE else "missing-table"
    findings.add(Problem(kind, table, None, 1, message))


def _report_empty_table(table: str, findings: Findings) -> None:
    if table == EVENTS_TABLE:
        message = "The table has no rows. What users did is what everything is learned from."
        findings.add(Problem("empty-events", table, None, 1, message))
    if table == CATALOGUE_TABLE:
        message = (
            "The catalogue is empty. Only entities of the catalogue are recommended, so there is "
            "nothing to recommend. Write one row (entity_type, entity_id) for each; titles, "
            "categories and prices may be null."
        )
        findings.add(Problem("empty-catalogue", table, None, 1, message))


def report_other_files(root: Path, table: str, paths: list[Path], findings: Findings) -> None:
    """Reports files of a table's folder that are not Parquet by their names."""
    if paths:
        message = (
            f"Found {counted(len(paths), 'file')} without the ending .parquet, which nothing "
            f"reads. Convert to Parquet, or move away."
        )
        findings.add(Problem("unread-file", table, None, len(paths), message, _files(paths, root)))


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
    root: Path,
    table: str,
    known: pa.Schema,
    schemas: dict[Path, tuple[pa.Schema, int]],
    findings: Findings,
) -> None:
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
        if any(part.startswith(f"{name}=") for part in paths[0].relative_to(root).parts):
            hint = " Folders name it, but their names are not read: write it into the files."
        rows = sum(schemas[p][1] for p in paths)
        message = (
            f"The column is missing in {len(paths)} of {counted(len(schemas), 'file')}; expected "
            f"{known.field(name).type}.{hint}"
        )
        findings.add(Problem("missing-column", table, name, rows, message, _files(paths, root)))
    if is_features(table):
        return  # it may have more for others
    for name, paths in unknown.items():
        message = (
            f"The table has no such column, so it is not read; it has {known.names}. Rename it, "
            f'put it into `attributes` as "key=value", or drop it.'
        )
        findings.add(
            Problem("unknown-column", table, name, len(paths), message, _files(paths, root))
        )


def _report_repeated_columns(
    root: Path,
    table: str,
    known: pa.Schema,
    schemas: dict[Path, tuple[pa.Schema, int]],
    findings: Findings,
) -> set[tuple[Path, str]]:
    """Reports columns that a file has more than once, and returns where they are."""
    repeated: dict[str, list[Path]] = defaultdict(list)
    for path, (schema, _) in schemas.items():
        for name in known.names:
            if schema.names.count(name) > 1:
                repeated[name].append(path)
    for name, paths in repeated.items():
        message = (
            f"{counted(len(paths), 'file')} with several columns of this name, so it is not clear "
            "which one counts. Rename or drop the others."
        )
        rows = sum(schemas[p][1] for p in paths)
        findings.add(Problem("duplicate-column", table, name, rows, message, _files(paths, root)))
    return {(path, name) for name, paths in repeated.items() for path in paths}


def _report_wrong_types(
    root: Path,
    table: str,
    known: pa.Schema,
    schemas: dict[Path, tuple[pa.Schema, int]],
    repeated: set[tuple[Path, str]],
    findings: Findings,
) -> set[tuple[Path, str]]:
    """Reports columns of types that do not convert, and returns where they are."""
    wrong: dict[tuple[str, str], list[Path]] = defaultdict(list)
    guessed: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path, (schema, _) in schemas.items():
        for field in known:
            if field.name not in schema.names or (path, field.name) in repeated:
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
        findings.add(Problem("time-by-guess", table, name, rows, message, samples))
    for (name, kind), paths in wrong.items():
        expected = known.field(name).type
        if name in TIME_COLUMNS:
            expected = "int64 microseconds since the epoch, or an Arrow timestamp"
        message = (
            f"Found {kind} in {counted(len(paths), 'file')}; expected {expected}. Cast it where "
            f"the log is written{_how_to_cast(name, expected)}."
        )
        samples = _look_at(paths[0], root, name)
        rows = sum(schemas[p][1] for p in paths)
        findings.add(Problem("wrong-type", table, name, rows, message, samples))
    return {(path, name) for (name, _), paths in wrong.items() for path in paths}


def _how_to_cast(name: str, expected: pa.DataType | str) -> str:
    """Says how a column becomes text, which is the usual need."""
    if expected != pa.string():
        return ""
    return f': `df["{name}"] = df["{name}"].astype("string")` with pandas'


def _look_at(path: Path, root: Path, column: str) -> tuple[dict[str, object], ...]:
    """Returns a few values of a column as samples."""
    try:
        with parquet_file(path) as file:
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
