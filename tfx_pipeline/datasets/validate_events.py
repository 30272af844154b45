"""Checks of the events' rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfx_pipeline.components.timeline_example_gen.config import ANY
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.datasets.columns import Batch
from tfx_pipeline.datasets.judge import type_in_id
from tfx_pipeline.datasets.limits import Limits
from tfx_pipeline.datasets.problem import SAMPLES
from tfx_pipeline.datasets.problem import Findings
from tfx_pipeline.datasets.problem import Problem
from tfx_pipeline.datasets.problem import Rows
from tfx_pipeline.datasets.row_hash import combine
from tfx_pipeline.datasets.row_hash import hash_strings
from tfx_pipeline.datasets.schemas import EVENTS
from tfx_pipeline.datasets.schemas import EVENTS_TABLE
from tfx_pipeline.datasets.schemas import IMPRESSION
from tfx_pipeline.datasets.summary import LogSummary
from tfx_pipeline.datasets.user_tally import UserTally
from tfx_pipeline.datasets.validate_catalogue import is_among
from tfx_pipeline.datasets.validate_files import TableFile
from tfx_pipeline.datasets.validate_rows import judge_rows
from tfx_pipeline.datasets.validate_rows import read_rows
from tfx_pipeline.datasets.validate_rows import rows_at
from transforms.arrow import pa
from transforms.arrow import pc

HEAVY_USER_EVENTS = 100_000
_ENTITY = ("entity_type", "entity_id")
_EVENT = ("user_id", "entity_type", "entity_id", "event", "timestamp")


class Match(NamedTuple):
    """Counts of events that may be targets, and of those that the catalogue knows."""

    total: int
    known: int


def check_events(
    files: Sequence[TableFile],
    known: np.ndarray,
    config: TimelineConfig,
    limits: Limits,
    findings: Findings,
    summary: LogSummary,
    tally: UserTally,
) -> Match:
    """Checks the events.

    Counts of users and the search for duplicates go through a temporary file
    (40 bytes an event), so memory stays bounded.

    Args:
        files: Readable files of the events.
        known: Hashes of the catalogue's entities; empty when it is not readable.
        config: Says which events may be targets.
        limits: What rows have to keep to.
        findings: Receives the problems.
        summary: Receives the counts.
        tally: Receives the events; finished by whoever knows the splits.
    """
    total = matched = 0
    for rows in read_rows(files, EVENTS_TABLE, findings):
        rows = rows.where(judge_rows(rows, limits, findings).good)
        if not all(field.nullable or rows.batch.has(field.name) for field in EVENTS):
            continue  # of rows that lack a name or a time nothing more can be said
        entities = hash_strings(rows.batch.names())
        in_catalogue = is_among(entities, known)
        may_be_target = _may_be_targets(rows.batch, config)
        total += int(may_be_target.sum())
        matched += int((may_be_target & in_catalogue).sum())
        if len(known) and not in_catalogue.all():
            removed = config.unknown_entities == "dead-letter"
            _report_unknown(rows, ~in_catalogue, removed, findings)
            if removed:
                rows, entities = rows.where(in_catalogue), entities[in_catalogue]
                may_be_target = may_be_target[in_catalogue]
        _tally(rows, entities, may_be_target, tally)
        summary.add_events(rows.batch)
    return Match(total, matched)


def report_tally(tally: UserTally, files: Sequence[TableFile], findings: Findings) -> None:
    """Reports what the finished tally of a log's users says."""
    found = (
        (
            "single-event-user",
            "user_id",
            tally.single,
            tally.single_rows,
            f"{tally.single:,} of {tally.users:,} users have one event or none besides "
            f"impressions. They can be learned from, but there is nothing to test them with.",
        ),
        (
            "heavy-user",
            "user_id",
            len(tally.heavy),
            [row for row, _ in tally.heavy[:SAMPLES]],
            f"{len(tally.heavy):,} users have {HEAVY_USER_EVENTS:,} events or more, up to "
            f"{max((count for _, count in tally.heavy), default=0):,}. Their timelines are cut "
            f"into chunks; if they are robots, drop them.",
        ),
        (
            "duplicate-event",
            None,
            tally.duplicates,
            tally.duplicate_rows,
            f"{tally.duplicates:,} of {tally.events:,} rows repeat the user, entity, event, time "
            f"and ordinal of another one. If the log was delivered twice, drop them.",
        ),
        (
            "repeated-event",
            None,
            tally.repeats,
            tally.repeat_rows,
            f"{tally.repeats:,} of {tally.events:,} rows repeat another one in all but their "
            f"ordinal: the same user, entity, event, time and position on a page. If the log "
            f"was delivered twice, drop them.",
        ),
    )
    for kind, column, count, numbers, message in found:
        if count:
            show = ("user_id",) if column else _EVENT
            samples = rows_at(files, numbers, show)
            findings.add(Problem(kind, EVENTS_TABLE, column, count, message, samples))


def _may_be_targets(batch: Batch, config: TimelineConfig) -> np.ndarray:
    """Returns which events may be targets by their types, [n] bool."""
    may = np.asarray(pc.not_equal(batch.column("event"), IMPRESSION.encode()).fill_null(False))
    for column, names in (("event", config.target_events), ("entity_type", config.candidate_types)):
        if ANY not in names:
            meant = pa.array([name.encode() for name in names], pa.binary())
            may = may & np.asarray(pc.is_in(batch.column(column), meant))
    return may


def _report_unknown(rows: Rows, unknown: np.ndarray, removed: bool, findings: Findings) -> None:
    """Reports events of entities that are not in the catalogue."""
    twice = unknown & type_in_id(rows.batch)
    findings.rows("type-in-id", "entity_id", rows, twice, show=_ENTITY)
    if removed:
        findings.rows("unknown-entity", "entity_id", rows, unknown, show=_ENTITY)
    else:
        findings.rows("not-in-catalogue", "entity_id", rows, unknown & ~twice, show=_ENTITY)


def _tally(rows: Rows, entities: np.ndarray, may_be_target: np.ndarray, tally: UserTally) -> None:
    batch = rows.batch
    users = hash_strings(batch.column("user_id"))
    times = np.asarray(batch.column("timestamp").fill_null(0))
    event = combine(users, entities, hash_strings(batch.column("event")), times)
    position = np.asarray(batch.column("position").fill_null(-1))
    tally.add(
        users,
        times,
        combine(event, np.asarray(batch.column("ordinal").fill_null(0))),
        combine(event, hash_strings(batch.column("page_id")), np.maximum(position, -1)),
        rows.numbers(),
        np.asarray(pc.not_equal(batch.column("event"), IMPRESSION.encode()).fill_null(True)),
        may_be_target,
    )
