"""Says in plain words what is missing or malformed in an event log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.problem import Findings
from tfx_pipeline.datasets.problem import Problem
from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from tfx_pipeline.datasets.schemas import EVENTS_TABLE
from tfx_pipeline.datasets.schemas import MANIFEST_NAME
from tfx_pipeline.datasets.schemas import USERS_TABLE
from tfx_pipeline.datasets.timestamps import latest as latest_time
from tfx_pipeline.datasets.validate_catalogue import check_catalogue
from tfx_pipeline.datasets.validate_catalogue import check_users
from tfx_pipeline.datasets.validate_events import check_events
from tfx_pipeline.datasets.validate_files import TableFile
from tfx_pipeline.datasets.validate_files import check_files


def validate_event_log(
    path: str | Path,
    event_types: Sequence[str] | None = None,
    latest: int | None = None,
) -> list[Problem]:
    """Checks an event log, every row of it, and keeps going after a problem.

    Memory stays bounded: some megabytes, 24 bytes a catalogue entity and 8 a
    user; counts go through temporary files.

    Args:
        path: Directory of the event log.
        event_types: Event types that are meant; those of the manifest by
            default, and any when it names none.
        latest: The latest time that is plausible, in microseconds; the end of
            tomorrow by default.

    Returns:
        What was found, errors first. No problem of severity `error` means that
        a pipeline can read the log.
    """
    root, findings = Path(path), Findings()
    if not root.is_dir():
        message = (
            f"`{root}` is not a directory. An event log is a directory with events/*.parquet, "
            f"catalogue/*.parquet and {MANIFEST_NAME}."
        )
        return [Problem("error", "missing-log", "log", None, 1, message)]
    latest = latest_time() if latest is None else latest
    manifest = _read_manifest(root, findings)
    ordinal = manifest is not None and manifest.time == "ordinal"
    files = check_files(root, findings)
    known = check_catalogue(files[CATALOGUE_TABLE], ordinal, latest, findings)
    check_users(files[USERS_TABLE], findings)
    if event_types is None:
        event_types = manifest.event_types if manifest else []
    users = check_events(files[EVENTS_TABLE], known, event_types, ordinal, latest, findings)
    if manifest is not None:
        _compare_counts(manifest, files, users, findings)
    totals = {table: sum(file.rows for file in paths) for table, paths in files.items()}
    return findings.close(totals)


def _read_manifest(root: Path, findings: Findings) -> Manifest | None:
    try:
        return Manifest.read(root)
    except (FileNotFoundError, ValueError) as error:
        kind = "missing-manifest" if isinstance(error, FileNotFoundError) else "bad-manifest"
        findings.add(Problem("error", kind, "log", None, 1, str(error)))
        return None


def _compare_counts(
    manifest: Manifest, files: dict[str, list[TableFile]], users: int, findings: Findings
) -> None:
    """Reports a manifest that was written for other files."""
    rows = sum(file.rows for file in files[EVENTS_TABLE])
    entities = sum(file.rows for file in files[CATALOGUE_TABLE])
    for name, said, found in (
        ("events", manifest.events, rows),
        ("users", manifest.users, users),
        ("entities", sum(manifest.entities.values()), entities),
    ):
        if said and said != found:
            message = (
                f"{MANIFEST_NAME} says {said:,} {name}, the files hold {found:,}. Was a file "
                f"added or lost? Correct the manifest, or leave the counts out."
            )
            findings.add(Problem("warning", "count-differs", "log", None, 1, message))
