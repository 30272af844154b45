"""Says in plain words what is missing or malformed in an event log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.problem import Findings
from tfx_pipeline.datasets.problem import Problem
from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from tfx_pipeline.datasets.schemas import EVENTS_TABLE
from tfx_pipeline.datasets.schemas import MANIFEST_NAME
from tfx_pipeline.datasets.schemas import USERS_TABLE
from tfx_pipeline.datasets.summary import LogSummary
from tfx_pipeline.datasets.timestamps import latest as latest_time
from tfx_pipeline.datasets.validate_catalogue import check_catalogue
from tfx_pipeline.datasets.validate_catalogue import check_users
from tfx_pipeline.datasets.validate_events import check_events
from tfx_pipeline.datasets.validate_files import check_files


@dataclass(frozen=True)
class Inspection:
    """What a check of an event log found.

    Attributes:
        problems: What is wrong with it, errors first.
        summary: What it holds, as far as it was read.
        totals: Rows of each table, by the files' footers.
        ordinal: Whether its times are an order only.
    """

    problems: list[Problem]
    summary: LogSummary
    totals: dict[str, int]
    ordinal: bool


def validate_event_log(
    path: str | Path, event_types: Sequence[str] | None = None, latest: int | None = None
) -> list[Problem]:
    """Returns the problems that `inspect_event_log` finds."""
    return inspect_event_log(path, event_types, latest).problems


def inspect_event_log(
    path: str | Path,
    event_types: Sequence[str] | None = None,
    latest: int | None = None,
    images: bool = True,
    most_rows: int | None = None,
) -> Inspection:
    """Checks an event log, every row of it, and keeps going after a problem.

    Memory stays bounded: some megabytes, 24 bytes a catalogue entity and 8 a
    user; counts go through temporary files.

    Args:
        path: Directory of the event log.
        event_types: Event types that are meant; those of the manifest by
            default, and any when it names none.
        latest: The latest time that is plausible, in microseconds; the end of
            tomorrow by default.
        images: Whether to read and check the images of the catalogue.
        most_rows: Of a log with more rows than this, only the manifest, the
            files and their columns are checked; None for no limit.

    Returns:
        What was found. No problem of severity `error` means that a pipeline
        can read the log.
    """
    root, findings, summary = Path(path), Findings(), LogSummary()
    if not root.is_dir():
        message = (
            f"`{root}` is not a directory. An event log is a directory with events/*.parquet, "
            f"catalogue/*.parquet and {MANIFEST_NAME}."
        )
        missing = Problem("error", "missing-log", "log", None, 1, message)
        return Inspection([missing], summary, {}, ordinal=False)
    latest = latest_time() if latest is None else latest
    manifest = _read_manifest(root, findings)
    ordinal = manifest is not None and manifest.time == "ordinal"
    files = check_files(root, findings)
    totals = {table: sum(file.rows for file in paths) for table, paths in files.items()}
    if most_rows is not None and sum(totals.values()) > most_rows:
        return Inspection(findings.close(totals), summary, totals, ordinal)
    known = check_catalogue(files[CATALOGUE_TABLE], ordinal, latest, findings, summary, images)
    check_users(files[USERS_TABLE], findings)
    if event_types is None:
        event_types = manifest.event_types if manifest else []
    check_events(files[EVENTS_TABLE], known, event_types, ordinal, latest, findings, summary)
    if manifest is not None:
        _compare_counts(manifest, totals, summary.users, findings)
    return Inspection(findings.close(totals), summary, totals, ordinal)


def _read_manifest(root: Path, findings: Findings) -> Manifest | None:
    try:
        return Manifest.read(root)
    except (FileNotFoundError, ValueError) as error:
        kind = "missing-manifest" if isinstance(error, FileNotFoundError) else "bad-manifest"
        findings.add(Problem("error", kind, "log", None, 1, str(error)))
        return None


def _compare_counts(
    manifest: Manifest, totals: dict[str, int], users: int, findings: Findings
) -> None:
    """Reports a manifest that was written for other files."""
    entities = totals[CATALOGUE_TABLE]
    for name, said, found in (
        ("events", manifest.events, totals[EVENTS_TABLE]),
        ("users", manifest.users, users),
        ("entities", sum(manifest.entities.values()), entities),
    ):
        if said and said != found:
            message = (
                f"{MANIFEST_NAME} says {said:,} {name}, the files hold {found:,}. Was a file "
                f"added or lost? Correct the manifest, or leave the counts out."
            )
            findings.add(Problem("warning", "count-differs", "log", None, 1, message))
