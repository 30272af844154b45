"""Reads the rows of a table for checking, and judges each by itself."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfx_pipeline.datasets.columns import Batch
from tfx_pipeline.datasets.judge import COLUMNS
from tfx_pipeline.datasets.judge import Judgement
from tfx_pipeline.datasets.judge import judge
from tfx_pipeline.datasets.limits import Limits
from tfx_pipeline.datasets.problem import Findings
from tfx_pipeline.datasets.problem import Problem
from tfx_pipeline.datasets.problem import Rows
from tfx_pipeline.datasets.problem import plain_value
from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from tfx_pipeline.datasets.schemas import EVENTS_TABLE
from tfx_pipeline.datasets.schemas import ROW_GROUP_ROWS
from tfx_pipeline.datasets.schemas import USERS_TABLE
from tfx_pipeline.datasets.validate_files import TableFile
from transforms.arrow import pa
from transforms.arrow import parquet_file

_BATCH_ROWS = {**ROW_GROUP_ROWS, CATALOGUE_TABLE: 1_024}  # an image or two vectors a row
_FEATURES_ROWS = 4_096  # a vector or some tokens a row
_ENTITY = ("entity_type", "entity_id")
_SHOW = {EVENTS_TABLE: (), USERS_TABLE: ()}


def read_rows(
    files: Sequence[TableFile],
    table: str,
    findings: Findings,
    columns: Sequence[str] | None = None,
) -> Iterator[Rows]:
    """Yields the rows of a table, some thousand at a time.

    Columns that a file lacks or has in a wrong type are left out. A page that
    cannot be read ends its file and is reported.

    Args:
        files: Readable files of the table.
        table: Name of the table.
        findings: Receives the problems.
        columns: Which columns to read; all that are judged by default.
    """
    wanted = COLUMNS[table] if columns is None else columns
    number, size = 0, _BATCH_ROWS.get(table, _FEATURES_ROWS)
    for file in files:
        first = 0
        try:
            with parquet_file(file.path) as parquet:
                present = [name for name in wanted if name in file.columns]
                for rows in parquet.iter_batches(size, columns=present):
                    place = np.arange(rows.num_rows)
                    yield Rows(file.name, first, number + first, Batch(table, rows), place)
                    first += rows.num_rows
        except (pa.ArrowException, OSError) as error:
            message = f"Row {first:,} or one soon after cannot be read: {error}. Write it again."
            findings.add(Problem("damaged-file", table, None, 1, message, ({"file": file.name},)))
        number += file.rows


def judge_rows(rows: Rows, limits: Limits, findings: Findings) -> Judgement:
    """Judges rows by themselves and reports what is wrong with them."""
    found = judge(rows.batch, limits)
    for kind, column, bad, hint in found.findings:
        findings.rows(kind, column, rows, bad, hint, _SHOW.get(rows.batch.table, _ENTITY))
    return found


def rows_at(
    files: Sequence[TableFile], numbers: Sequence[int], columns: Sequence[str]
) -> tuple[dict[str, Any], ...]:
    """Looks up a few rows by their place in the whole table, as samples of a problem."""
    samples = []
    for number in numbers:
        start = 0
        for file in files:
            if number < start + file.rows:
                break
            start += file.rows
        row, skipped = int(number - start), 0
        present = [name for name in columns if name in file.columns]
        with parquet_file(file.path) as parquet:
            for batch in parquet.iter_batches(columns=present):
                if row < skipped + batch.num_rows:
                    values = {c: plain_value(batch.column(c)[row - skipped]) for c in present}
                    samples.append({"file": file.name, "row": row} | values)
                    break
                skipped += batch.num_rows
    return tuple(samples)
