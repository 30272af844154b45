"""Reads the rows of a table for checking, and checks what all tables have in common."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfx_pipeline.datasets.convert import TIME_COLUMNS
from tfx_pipeline.datasets.convert import converted
from tfx_pipeline.datasets.convert import is_time_by_guess
from tfx_pipeline.datasets.problem import Findings
from tfx_pipeline.datasets.problem import Problem
from tfx_pipeline.datasets.problem import Rows
from tfx_pipeline.datasets.problem import plain_value
from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from tfx_pipeline.datasets.schemas import ROW_GROUP_ROWS
from tfx_pipeline.datasets.schemas import TABLES
from tfx_pipeline.datasets.timestamps import EARLIEST
from tfx_pipeline.datasets.timestamps import unit_hint
from tfx_pipeline.datasets.validate_files import TableFile
from transforms.arrow import pa
from transforms.arrow import pc
from transforms.arrow import pq

RAW = "raw_"
_IDS = ("user_id", "entity_type", "entity_id", "event")
_BATCH_ROWS = {**ROW_GROUP_ROWS, CATALOGUE_TABLE: 1_024}  # an image or two vectors a row


def read_rows(
    files: Sequence[TableFile],
    table: str,
    findings: Findings,
    columns: Sequence[str] | None = None,
) -> Iterator[Rows]:
    """Yields the rows of a table under its schema, a few thousand at a time.

    Columns that a file lacks or has in a wrong type come as nulls. A page that
    cannot be read ends its file and is reported.

    Args:
        files: Readable files of the table.
        table: Name of the table.
        findings: Receives the problems.
        columns: Which columns to read; all by default.
    """
    schema = TABLES[table]
    wanted = schema.names if columns is None else list(columns)
    number = 0
    for file in files:
        first = 0
        try:
            with pq.ParquetFile(file.path) as parquet:
                present = [c for c in wanted if c in file.columns]
                for batch in parquet.iter_batches(_BATCH_ROWS[table], columns=present):
                    data = _under_schema(batch, schema, wanted)
                    place = np.arange(batch.num_rows)
                    yield Rows(table, file.name, first, number + first, data, place)
                    first += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            message = f"Row {first:,} or one soon after cannot be read: {error}. Write it again."
            sample = {"file": file.name}
            findings.add(Problem("error", "damaged-file", table, None, 1, message, (sample,)))
        number += file.rows


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
        present = [c for c in columns if c in file.columns]
        with pq.ParquetFile(file.path) as parquet:
            for batch in parquet.iter_batches(columns=present):
                if row < skipped + batch.num_rows:
                    values = {c: plain_value(batch.column(c)[row - skipped]) for c in present}
                    samples.append({"file": file.name, "row": row} | values)
                    break
                skipped += batch.num_rows
    return tuple(samples)


def check_text(rows: Rows, findings: Findings) -> Rows:
    """Reports text that is not UTF-8 and ids that are null or empty.

    Returns:
        The rows whose ids can be used.
    """
    usable = np.ones(rows.data.num_rows, bool)
    for field in TABLES[rows.table]:
        if field.name not in rows.data.column_names:
            continue  # nobody asked for it
        column = rows.data.column(field.name)
        is_id = field.name in _IDS
        if pa.types.is_string(field.type) or field.type == pa.list_(pa.string()):
            bad = _not_utf8(column)
            message = (
                "{count} of {rows} values are not UTF-8 text, which later steps cannot read. "
                "Decode them with the encoding they were written in (often latin-1 or cp1252) "
                "and write them again."
            )
            findings.rows("error", "not-utf8", field.name, rows, bad, message)
            usable &= ~(bad & is_id)
        if is_id and not field.nullable:
            empty = pc.equal(pc.binary_length(column), 0)
            bad = _mask(pc.or_(pc.is_null(column), pc.fill_null(empty, False)))
            message = (
                "{count} of {rows} values are null or empty; every row needs one. Drop those "
                "rows, or give them an id."
            )
            if column.null_count < len(column):  # else the column is missing, which is said
                findings.rows("error", "null-id", field.name, rows, bad, message)
            usable &= ~bad
    return rows if usable.all() else rows.where(usable)


def check_entity_type(rows: Rows, findings: Findings) -> None:
    """Reports entity types with a colon, which divides type and id in `type:id`."""
    bad = _mask(pc.match_substring(rows.data.column("entity_type"), ":"))
    message = (
        "{count} of {rows} entity types contain `:`, which separates type and id in `type:id`. "
        "Use another character."
    )
    findings.rows("error", "colon-in-type", "entity_type", rows, bad, message)


def type_in_id(rows: pa.Table) -> np.ndarray:
    """Returns which ids repeat their entity type, as in `item:42` of type `item`, [n] bool."""
    ids = rows.column("entity_id")
    first = pc.list_element(pc.split_pattern(ids, ":", max_splits=1), 0)
    return _mask(pc.and_(pc.match_substring(ids, ":"), pc.equal(first, rows.column("entity_type"))))


def check_attributes(rows: Rows, findings: Findings) -> None:
    """Reports attributes that are not `key=value`."""
    column = rows.data.column("attributes").combine_chunks()
    words = pc.list_flatten(column)
    bad = np.zeros(rows.data.num_rows, bool)
    if len(words):
        wrong = pc.fill_null(pc.invert(pc.match_substring(words, "=")), True)
        bad[pc.list_parent_indices(column).filter(wrong).to_numpy()] = True
    message = '{count} of {rows} rows have attributes that are not "key=value".'
    findings.rows("warning", "attribute-form", "attributes", rows, bad, message)


def check_times(rows: Rows, column: str, ordinal: bool, latest: int, findings: Findings) -> None:
    """Reports times that no log can have, with the unit they look like.

    Args:
        rows: Rows of a table.
        column: Its time column.
        ordinal: Whether the log's times are an order only.
        latest: The latest time that is plausible, in microseconds.
        findings: Receives the problems.
    """
    times = rows.data.column(column)
    nulls = _mask(pc.is_null(times))
    values = pc.fill_null(times, 0).to_numpy()
    missing = nulls
    if RAW + column in rows.data.column_names:
        missing = _mask(pc.is_null(rows.data.column(RAW + column)))
        message = (
            "{count} of {rows} values do not parse as a time. Write int64 microseconds since the "
            "epoch, or an Arrow timestamp."
        )
        bad = nulls & ~missing
        findings.rows("error", "unparsable-time", column, rows, bad, message, (RAW + column,))
    required = not TABLES[rows.table].field(column).nullable
    if required and not missing.all():
        message = "{count} of {rows} rows have no time; every event needs one. Drop those rows."
        findings.rows("error", "null-time", column, rows, missing, message)
    bad = (values < 0) if ordinal else (values < EARLIEST) | (values > latest)
    bad &= ~nulls
    if ordinal:
        message = "{count} of {rows} values are negative; an order starts at 0."
    else:
        message = (
            "{count} of {rows} times are before 1990 or in the future; expected microseconds "
            "since the epoch, UTC." + unit_hint(values[bad]) + " If they are an order and no "
            'times, say "time": "ordinal" in manifest.json.'
        )
    findings.rows("error", "time-out-of-range", column, rows, bad, message)


def _under_schema(batch: pa.RecordBatch, schema: pa.Schema, wanted: Sequence[str]) -> pa.Table:
    """Converts the columns that are there and fills the others with nulls.

    Of times that have to be parsed, what was written comes along as text in a
    column `raw_...`.
    """
    columns: dict[str, pa.Array] = {}
    for name in wanted:
        field = schema.field(name)
        if name not in batch.schema.names:
            columns[name] = pa.nulls(batch.num_rows, field.type)
            continue
        column = batch.column(batch.schema.names.index(name))
        columns[name] = converted(column, field)
        if name in TIME_COLUMNS and is_time_by_guess(column.type):
            told = [None if value is None else str(value) for value in column.to_pylist()]
            columns[RAW + name] = pa.array(told, pa.string())
    return pa.table(columns)


def _not_utf8(column: pa.ChunkedArray) -> np.ndarray:
    """Returns where text, or a list's text, is not UTF-8, [n] bool."""
    bad = np.zeros(len(column), bool)
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        array = column.combine_chunks()
        words, parents = array, None
        if pa.types.is_list(array.type):
            words, parents = pc.list_flatten(array), pc.list_parent_indices(array).to_numpy()
        raw = words.cast(pa.binary()).dictionary_encode()
        wrong = np.array([not _decodes(word) for word in raw.dictionary.to_pylist()], bool)
        where = wrong[pc.fill_null(raw.indices, 0).to_numpy()] & words.is_valid().to_numpy(False)
        bad[np.flatnonzero(where) if parents is None else parents[where]] = True
    return bad


def _decodes(word: bytes) -> bool:
    try:
        word.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _mask(values: pa.ChunkedArray) -> np.ndarray:
    """Turns a column of booleans into [n] bool; null is false."""
    return pc.fill_null(values, False).to_numpy().astype(bool)
