"""What there is to read, decided from Parquet footers before any row is read.

Everything that shapes the output (pieces, their order, buckets, cuts) is fixed
here by the log alone, so that no number of workers can change a byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfx_pipeline.components.timeline_example_gen.columns import check_schema
from tfx_pipeline.components.timeline_example_gen.columns import read_timestamps
from tfx_pipeline.components.timeline_example_gen.config import MICROSECONDS_A_DAY
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.piece import Piece
from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import USERS_TABLE
from tfx_pipeline.datasets.event_log import EventLog
from transforms.arrow import pa
from transforms.arrow import pq

ROWS_A_PIECE = {EVENTS_TABLE: 262_144, USERS_TABLE: 262_144, CATALOGUE_TABLE: 16_384}
EVENTS_A_BUCKET = 131_072
MOST_BUCKETS = 4_096


class Plan(NamedTuple):
    """All that a job needs to know about its input.

    Attributes:
        pieces: What to read, by table.
        rows: Rows of each table.
        buckets: Groups of users.
        validation_start: Microseconds; 0 for `leave-last-out`.
        test_start: Microseconds; 0 for `leave-last-out`.
    """

    pieces: dict[str, list[Piece]]
    rows: dict[str, int]
    buckets: int
    validation_start: int
    test_start: int


def make_plan(log_dir: str, config: TimelineConfig) -> Plan:
    """Decides what to read and where to cut.

    Args:
        log_dir: Directory of an event log.
        config: How timelines are cut.

    Raises:
        FileNotFoundError: No event log is there.
        ValueError: A column is missing or of a wrong type, the catalogue or the
            events are empty, or the periods do not fit the log.
    """
    log = EventLog(log_dir)
    files = {
        EVENTS_TABLE: log.events_files(),
        CATALOGUE_TABLE: log.catalogue_files(),
        USERS_TABLE: log.users_files(),
    }
    pieces = {table: list(_pieces(table, paths)) for table, paths in files.items()}
    rows = {table: sum(_rows(path) for path in paths) for table, paths in files.items()}
    _require_rows(log_dir, rows)
    validation_start = test_start = 0
    if config.split == "time-cut":
        if log.manifest.time == "ordinal":
            raise ValueError(
                f"`{log_dir}` says that its times are ordinal (they order a user's events and "
                "mean nothing else), so no moment divides it. Use split `leave-last-out`."
            )
        validation_start, test_start = _cuts(files[EVENTS_TABLE], config)
    buckets = config.buckets or -(-rows[EVENTS_TABLE] // EVENTS_A_BUCKET)
    return Plan(pieces, rows, min(buckets, MOST_BUCKETS), validation_start, test_start)


def _pieces(table: str, paths: Iterable[Path]) -> Iterator[Piece]:
    """Joins small row groups until a piece is worth its overhead."""
    number = first_row = 0
    for path in paths:
        metadata = _metadata(table, path)
        group = first_group = row_of_file = size = 0
        for group in range(metadata.num_row_groups):
            size += metadata.row_group(group).num_rows
            if size >= ROWS_A_PIECE[table] or group + 1 == metadata.num_row_groups:
                if size:
                    yield Piece(
                        table, str(path), first_group, group + 1, first_row, row_of_file, number
                    )
                    number += 1
                first_group = group + 1
                first_row, row_of_file, size = first_row + size, row_of_file + size, 0


def _metadata(table: str, path: Path) -> pq.FileMetaData:
    """Reads a footer and checks the columns that it names."""
    try:
        metadata = pq.read_metadata(path)
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"`{path}` is no readable Parquet file: {error}. Write it again or remove it."
        ) from error
    check_schema(metadata.schema.to_arrow_schema(), table, str(path))
    return metadata


def _rows(path: Path) -> int:
    return pq.read_metadata(path).num_rows


def _require_rows(log_dir: str, rows: dict[str, int]) -> None:
    if not rows[EVENTS_TABLE]:
        raise ValueError(f"`{log_dir}` has no events, so there is nothing to learn from.")
    if not rows[CATALOGUE_TABLE]:
        raise ValueError(
            f"The catalogue of `{log_dir}` is empty, so there is nothing to recommend. Write one "
            "row (entity_type, entity_id) for each entity into catalogue/*.parquet; titles, "
            "categories and prices may be null."
        )


def _cuts(paths: Iterable[Path], config: TimelineConfig) -> tuple[int, int]:
    """Returns the first microseconds of the validation and of the test period."""
    first, last = _time_range(paths, config)
    test = config.test_start
    if test is None:
        test = last + 1 - round(config.test_days * MICROSECONDS_A_DAY)
    validation = config.validation_start
    if validation is None:
        validation = test - round(config.validation_days * MICROSECONDS_A_DAY)
    if not first < validation < test <= last:
        raise ValueError(
            f"The periods leave a split empty: the events lie between {_date(first)} and "
            f"{_date(last)}, validation would start at {_date(validation)} and test at "
            f"{_date(test)}. Choose first event < validation < test <= last event."
        )
    return validation, test


def _time_range(paths: Iterable[Path], config: TimelineConfig) -> tuple[int, int]:
    """Returns the earliest and the latest acceptable timestamp of the log."""
    lows, highs = [], []
    for path in paths:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                low, high = _statistics(file, group)
                if low is None or low < config.earliest or high >= config.latest:
                    times = read_timestamps(file, group)
                    times = times[(times >= config.earliest) & (times < config.latest)]
                    if not len(times):
                        continue
                    low, high = int(times.min()), int(times.max())
                lows.append(low)
                highs.append(high)
    if not lows:
        raise ValueError("No event has an acceptable timestamp; see `earliest` and `latest`.")
    return min(lows), max(highs)


def _statistics(file: pq.ParquetFile, group: int) -> tuple[int | None, int]:
    """Returns the least and the greatest timestamp by the footer, or None when it is silent."""
    index = file.schema_arrow.get_field_index("timestamp")
    if not pa.types.is_int64(file.schema_arrow.field(index).type):
        return None, 0
    statistics = file.metadata.row_group(group).column(_leaf(file, "timestamp")).statistics
    if statistics is None or not statistics.has_min_max:
        return None, 0
    return int(statistics.min), int(statistics.max)


def _leaf(file: pq.ParquetFile, column: str) -> int:
    names = [file.schema.column(i).path for i in range(len(file.schema))]
    return names.index(column)


def _date(microseconds: int) -> str:
    return str(np.datetime64(microseconds, "us"))
