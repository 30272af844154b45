"""Plan of what is read, made from Parquet footers before any row is read.

Everything that shapes the output (parts of files, their order, buckets, cuts) is fixed
here by the log alone, so that no number of workers can change a byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from tfx_pipeline.components.timeline_example_gen.config import ANY
from tfx_pipeline.components.timeline_example_gen.config import MICROSECONDS_A_DAY
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.datasets.day_folders import day_of
from tfx_pipeline.datasets.day_folders import span_of
from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import USERS_TABLE
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.file_parts import FilePart
from tfx_pipeline.datasets.limits import Limits
from tfx_pipeline.datasets.limits import find_limits
from tfx_pipeline.datasets.opened_log import OpenedLog
from tfx_pipeline.datasets.opened_log import open_log
from tfx_pipeline.datasets.problem import Findings
from tfx_pipeline.datasets.row_groups import footer_range
from tfx_pipeline.datasets.row_groups import read_values
from tfx_pipeline.datasets.validate_files import TableFile
from transforms.arrow import parquet_file

ROWS_A_PART = {EVENTS_TABLE: 262_144, USERS_TABLE: 262_144, CATALOGUE_TABLE: 16_384}
ROWS_A_FEATURES_PART = 65_536
EVENTS_A_BUCKET = 131_072
MOST_BUCKETS = 4_096


class Plan(NamedTuple):
    """All that a job needs to know about its input.

    Attributes:
        file_parts: What to read, by table.
        rows: Rows of each table.
        limits: What rows have to keep to.
        span: Number of the newest folder of a day that is read (`day_folders.span_of`); 0 where
            the events are in none.
        buckets: Groups of users.
        validation_start: Microseconds; 0 but for `time-cut`.
        test_start: Microseconds; 0 but for `time-cut`.
    """

    file_parts: dict[str, list[FilePart]]
    rows: dict[str, int]
    limits: Limits
    span: int
    buckets: int
    validation_start: int
    test_start: int


def make_plan(log_dir: str, config: TimelineConfig, made: Path | None = None) -> Plan:
    """Decides what to read and where to cut.

    Args:
        log_dir: Directory of an event log.
        config: How timelines are cut.
        made: Directory of tables of declared fields that are not in the log; see `open_log`.

    Raises:
        FileNotFoundError: No event log is there.
        ValueError: A column is missing or of a wrong type, the catalogue or the
            events are empty, or the periods do not fit the log.
    """
    findings = Findings()
    root, fields = EventLog(log_dir).path, config.catalogue_fields
    opened = open_log(root, findings, fields, config.days, made)
    problems = findings.close(opened.totals)
    refusals = [str(p) for p in problems if p.severity == "error"]
    if refusals:
        raise ValueError("\n".join([f"The event log {log_dir} cannot be used:", *refusals]))
    for problem in problems:
        if problem.kind == "undeclared-table":
            logging.warning("%s", problem)
    limits = limits_for(opened, config)
    file_parts = {table: list(_file_parts(table, files)) for table, files in opened.files.items()}
    buckets = config.buckets or -(-opened.totals[EVENTS_TABLE] // EVENTS_A_BUCKET)
    cuts = find_cuts(opened, config, limits)
    days = [day_of(file.path, opened.root) for file in opened.files[EVENTS_TABLE]]
    span = max((span_of(day) for day in days if day), default=0)
    return Plan(file_parts, opened.totals, limits, span, min(buckets, MOST_BUCKETS), *cuts)


def limits_for(opened: OpenedLog, config: TimelineConfig) -> Limits:
    """Returns what the rows of a log have to keep to."""
    meant = () if ANY in config.event_types else config.event_types
    catalogue = opened.files[CATALOGUE_TABLE]
    vectors = config.catalogue_fields.vectors
    return find_limits(opened.manifest, catalogue, meant, config.earliest, config.latest, vectors)


def find_cuts(opened: OpenedLog, config: TimelineConfig, limits: Limits) -> tuple[int, int]:
    """Returns the first microseconds of the validation and of the test period.

    Raises:
        ValueError: The periods do not fit the log.
    """
    if config.split != "time-cut":
        return 0, 0
    if opened.ordinal:
        raise ValueError(
            f"`{opened.root}` says that its times are ordinal (they order a user's events and "
            "mean nothing else), so no moment divides it. Use split `leave-last-out` "
            "or `leave-share-out`."
        )
    return _cuts(opened.files[EVENTS_TABLE], config, limits)


def _file_parts(table: str, files: Iterable[TableFile]) -> Iterator[FilePart]:
    """Joins small row groups until a part is worth its overhead."""
    number = first_row = 0
    least = ROWS_A_PART.get(table, ROWS_A_FEATURES_PART)
    for entry in files:
        with parquet_file(entry.path) as file:
            metadata = file.metadata
        group = first_group = row_of_file = size = 0
        for group in range(metadata.num_row_groups):
            size += metadata.row_group(group).num_rows
            if size >= least or group + 1 == metadata.num_row_groups:
                if size:
                    groups = (first_group, group + 1)
                    numbers = (first_row, row_of_file, number)
                    yield FilePart(table, str(entry.path), *groups, *numbers, entry.name)
                    number += 1
                first_group = group + 1
                first_row, row_of_file, size = first_row + size, row_of_file + size, 0


def _cuts(files: Iterable[TableFile], config: TimelineConfig, limits: Limits) -> tuple[int, int]:
    first, last = _time_range(files, limits)
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


def _time_range(files: Iterable[TableFile], limits: Limits) -> tuple[int, int]:
    """Returns the earliest and the latest acceptable timestamp of the log."""
    lows, highs = [], []
    for entry in files:
        with parquet_file(entry.path) as file:
            for group in range(file.num_row_groups):
                found = footer_range(file, group, "timestamp")
                if found is None or found[0] < limits.earliest or found[1] >= limits.latest:
                    times = read_values(file, group, "timestamp")
                    times = times[(times >= limits.earliest) & (times < limits.latest)]
                    if not len(times):
                        continue
                    found = int(times.min()), int(times.max())
                lows.append(found[0])
                highs.append(found[1])
    if not lows:
        raise ValueError("No event has an acceptable timestamp; see `earliest` and `latest`.")
    return min(lows), max(highs)


def _date(microseconds: int) -> str:
    return str(np.datetime64(microseconds, "us"))
