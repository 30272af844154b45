"""An event log as its manifest, its files' footers and their order show it, before any row."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tfx_pipeline.datasets.day_folders import DayRange
from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.problem import Findings
from tfx_pipeline.datasets.problem import Problem
from tfx_pipeline.datasets.row_groups import footer_range
from tfx_pipeline.datasets.row_groups import read_values
from tfx_pipeline.datasets.schemas import EVENTS_TABLE
from tfx_pipeline.datasets.validate_features import check_feature_files
from tfx_pipeline.datasets.validate_files import TableFile
from tfx_pipeline.datasets.validate_files import check_files
from transforms.arrow import pa
from transforms.arrow import parquet_file
from transforms.catalogue_fields import CatalogueFields


class OpenedLog(NamedTuple):
    """Schemas and row counts of a log, before any row is read.

    Attributes:
        root: Its directory.
        manifest: What it says about itself; None where that cannot be read.
        files: The readable files of each table.
        totals: Rows of each table.
    """

    root: Path
    manifest: Manifest | None
    files: dict[str, list[TableFile]]
    totals: dict[str, int]

    @property
    def ordinal(self) -> bool:
        """True if its times are an order only."""
        return self.manifest is not None and self.manifest.time == "ordinal"


def open_log(
    root: Path,
    findings: Findings,
    fields: CatalogueFields,
    days: DayRange | None = None,
    made: Path | None = None,
) -> OpenedLog:
    """Looks at everything in a log but its rows.

    Args:
        root: Its directory.
        findings: Receives the problems.
        fields: Declared fields, each of which is a table.
        days: Which folders of the events are read; all by default.
        made: Directory with `features/<name>` of declared fields that a run has made, which are
            read in place of the log's.

    Raises:
        ValueError: There are no such folders.
    """
    manifest = _read_manifest(root, findings)
    files = check_files(root, findings, days) | check_feature_files(root, fields, findings, made)
    totals = {table: sum(file.rows for file in found) for table, found in files.items()}
    try:
        _check_order(files[EVENTS_TABLE], totals[EVENTS_TABLE], findings)
    except (pa.ArrowException, OSError):
        pass  # whoever reads the rows says that a file is damaged
    return OpenedLog(root, manifest, files, totals)


def _read_manifest(root: Path, findings: Findings) -> Manifest | None:
    try:
        return Manifest.read(root)
    except (FileNotFoundError, ValueError) as error:
        kind = "missing-manifest" if isinstance(error, FileNotFoundError) else "bad-manifest"
        findings.add(Problem(kind, "log", None, 1, str(error)))
        return None


def _check_order(files: Iterable[TableFile], total: int, findings: Findings) -> None:
    """Reports a log in which every event has the same time."""
    times = _span(files, "timestamp")
    if total < 2 or times is None or times[0] != times[1]:
        return
    same = f"Every event has the time {times[0]}"
    ordinals = _span(files, "ordinal")
    if ordinals is not None and ordinals[0] != ordinals[1]:
        message = (
            f"{same}, so the order of a user's events rests on `ordinal` alone. Write the time of "
            "each event, or, where none is known, its position among the user's events."
        )
        findings.add(Problem("one-time", EVENTS_TABLE, "timestamp", total, message))
    else:
        message = (
            f"{same} and no `ordinal` of its own, so nothing says what a user did first. Write "
            "the time of each event, or its position among the user's events."
        )
        findings.add(Problem("no-order", EVENTS_TABLE, "timestamp", total, message))


def _span(files: Iterable[TableFile], column: str) -> tuple[int, int] | None:
    """Returns the least and the greatest value that were seen before two of them differed."""
    span: tuple[int, int] | None = None
    for entry in files:
        if column not in entry.columns:
            continue
        with parquet_file(entry.path) as file:
            for group in range(file.num_row_groups):
                found = footer_range(file, group, column)
                if found is None:
                    values = read_values(file, group, column)
                    if not len(values):
                        continue
                    found = int(values.min()), int(values.max())
                low, high = span or found
                span = min(low, found[0]), max(high, found[1])
                if span[0] != span[1]:
                    return span
    return span
