"""Checks of the events' rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfx_pipeline.datasets.problem import SAMPLES
from tfx_pipeline.datasets.problem import Findings
from tfx_pipeline.datasets.problem import Problem
from tfx_pipeline.datasets.problem import Rows
from tfx_pipeline.datasets.row_hash import combine
from tfx_pipeline.datasets.row_hash import hash_strings
from tfx_pipeline.datasets.schemas import EVENTS_TABLE
from tfx_pipeline.datasets.schemas import IMPRESSION
from tfx_pipeline.datasets.summary import LogSummary
from tfx_pipeline.datasets.user_tally import UserTally
from tfx_pipeline.datasets.validate_catalogue import is_among
from tfx_pipeline.datasets.validate_catalogue import qualified
from tfx_pipeline.datasets.validate_files import TableFile
from tfx_pipeline.datasets.validate_rows import check_entity_type
from tfx_pipeline.datasets.validate_rows import check_text
from tfx_pipeline.datasets.validate_rows import check_times
from tfx_pipeline.datasets.validate_rows import read_rows
from tfx_pipeline.datasets.validate_rows import rows_at
from tfx_pipeline.datasets.validate_rows import type_in_id
from transforms.arrow import pa
from transforms.arrow import pc

HEAVY_USER_EVENTS = 100_000
_ENTITY = ("entity_type", "entity_id")
_EVENT = ("user_id", "entity_type", "entity_id", "event", "timestamp")


def check_events(
    files: Sequence[TableFile],
    known: np.ndarray | None,
    event_types: Sequence[str],
    ordinal: bool,
    latest: int,
    findings: Findings,
    summary: LogSummary,
) -> None:
    """Checks the events.

    Counts of users and the search for duplicates go through a temporary file
    (24 bytes an event), so memory stays bounded.

    Args:
        files: Readable files of the events.
        known: Hashes of the catalogue's entities; None when it is not readable.
        event_types: Event types that are meant; any when empty.
        ordinal: Whether the log's times are an order only.
        latest: The latest time that is plausible, in microseconds.
        findings: Receives the problems.
        summary: Receives the counts.
    """
    if files and not sum(file.rows for file in files):
        message = "The table has no rows. What users did is what everything is learned from."
        findings.add(Problem("error", "empty-events", EVENTS_TABLE, None, 1, message))
    with UserTally(HEAVY_USER_EVENTS) as tally:
        for rows in read_rows(files, EVENTS_TABLE, findings):
            rows = check_text(rows, findings)
            check_entity_type(rows, findings)
            check_times(rows, "timestamp", ordinal, latest, findings)
            _check_event_types(rows, event_types, findings)
            _check_numbers(rows, findings)
            entities = hash_strings(qualified(rows.data))
            if known is not None and len(known):
                _check_known(rows, entities, known, findings)
            _tally(rows, entities, tally)
            summary.add_events(rows.data)
        tally.finish()
        _report_tally(tally, files, findings)
        summary.users = tally.users
    _check_order(summary, findings)


def _check_order(summary: LogSummary, findings: Findings) -> None:
    """Reports a log in which every event has the same time."""
    total = sum(summary.events.values())
    if total < 2 or summary.times is None or summary.times[0] != summary.times[1]:
        return
    same = f"Every event has the time {summary.times[0]}"
    if summary.ordinals and summary.ordinals[0] != summary.ordinals[1]:
        message = (
            f"{same}, so the order of a user's events rests on `ordinal` alone. Write the time of "
            "each event, or, where none is known, its place among the user's events."
        )
        findings.add(Problem("warning", "one-time", EVENTS_TABLE, "timestamp", total, message))
    else:
        message = (
            f"{same} and no `ordinal` of its own, so nothing says what a user did first. Write "
            "the time of each event, or its place among the user's events."
        )
        findings.add(Problem("error", "no-order", EVENTS_TABLE, "timestamp", total, message))


def _check_event_types(rows: Rows, event_types: Sequence[str], findings: Findings) -> None:
    if not event_types:
        return
    meant = pc.is_in(rows.data.column("event"), pa.array(event_types, pa.string()))
    message = (
        f"{{count}} of {{rows}} events are of a type that is not among {sorted(event_types)}. "
        f"Add the type to `event_types` in manifest.json, or rename or drop those rows."
    )
    bad = ~meant.to_numpy().astype(bool)
    findings.rows("error", "unknown-event-type", "event", rows, bad, message)


def _check_numbers(rows: Rows, findings: Findings) -> None:
    value = pc.fill_null(rows.data.column("value"), 0.0).to_numpy()
    message = "{count} of {rows} values are infinite or not a number. Write null where none is."
    findings.rows("warning", "bad-value", "value", rows, ~np.isfinite(value), message)
    position = pc.fill_null(rows.data.column("position"), 0).to_numpy()
    message = "{count} of {rows} positions are negative; the first place of a page is 0."
    findings.rows("error", "bad-position", "position", rows, position < 0, message)
    ordinal = rows.data.column("ordinal")
    nulls = pc.is_null(ordinal).to_numpy().astype(bool)
    if not nulls.all():
        message = "{count} of {rows} rows have no ordinal, which breaks ties of time."
        findings.rows("error", "null-ordinal", "ordinal", rows, nulls, message)
    lost = pc.and_(
        pc.equal(rows.data.column("event"), IMPRESSION), pc.is_null(rows.data.column("page_id"))
    )
    message = (
        "{count} of {rows} rows are impressions without a page, so nobody knows what they were "
        "shown with and they are left out. Give every result page an id."
    )
    findings.rows(
        "error", "impression-without-page", "page_id", rows, lost.to_numpy().astype(bool), message
    )


def _check_known(rows: Rows, entities: np.ndarray, known: np.ndarray, findings: Findings) -> None:
    message = (
        "{count} of {rows} events are about entities that are not in the catalogue; those have "
        "no features and are never recommended. Add them to the catalogue."
    )
    bad = ~is_among(entities, known)
    if not bad.any():
        return
    rows = rows.where(bad)
    twice = type_in_id(rows.data)
    findings.rows("warning", "not-in-catalogue", "entity_id", rows, ~twice, message, _ENTITY)
    message = (
        "{count} of {rows} ids repeat their entity type and are not in the catalogue. The type has "
        "a column of its own: write the id alone, `42` and not `item:42`."
    )
    findings.rows("error", "type-in-id", "entity_id", rows, twice, message, _ENTITY)


def _tally(rows: Rows, entities: np.ndarray, tally: UserTally) -> None:
    data = rows.data
    users = hash_strings(data.column("user_id"))
    # Of rows without a time nobody can say whether they are the same event.
    unknown = pc.is_null(data.column("timestamp")).to_numpy().astype(bool)
    times = pc.fill_null(data.column("timestamp"), 0).to_numpy()
    whole = combine(
        users,
        entities,
        hash_strings(data.column("event")),
        np.where(unknown, -1 - rows.numbers(), times),
        hash_strings(data.column("page_id")),
        pc.fill_null(data.column("position"), -1).to_numpy(),
    )
    counts = pc.not_equal(data.column("event"), IMPRESSION).to_numpy().astype(bool)
    tally.add(users, whole, rows.numbers(), counts)


def _report_tally(tally: UserTally, files: Sequence[TableFile], findings: Findings) -> None:
    if tally.single:
        message = (
            f"{tally.single:,} of {tally.users:,} users have one event or none besides "
            f"impressions. They can be learned from, but there is nothing to test them with."
        )
        samples = rows_at(files, tally.single_rows, ("user_id",))
        findings.add(
            Problem(
                "info", "single-event-user", EVENTS_TABLE, "user_id", tally.single, message, samples
            )
        )
    if tally.heavy:
        most = max(count for _, count in tally.heavy)
        message = (
            f"{len(tally.heavy):,} users have {HEAVY_USER_EVENTS:,} events or more, up to "
            f"{most:,}. Their timelines are cut into chunks; if they are robots, drop them."
        )
        first = [row for row, _ in tally.heavy[:SAMPLES]]
        samples = rows_at(files, first, ("user_id",))
        findings.add(
            Problem(
                "info", "heavy-user", EVENTS_TABLE, "user_id", len(tally.heavy), message, samples
            )
        )
    if tally.duplicates:
        message = (
            f"{tally.duplicates:,} of {tally.events:,} rows repeat another one in all but their "
            f"ordinal: the same user, entity, event, time and place on a page. If the log was "
            f"delivered twice, drop them."
        )
        samples = rows_at(files, tally.duplicate_rows, _EVENT)
        findings.add(
            Problem(
                "warning", "duplicate-event", EVENTS_TABLE, None, tally.duplicates, message, samples
            )
        )
