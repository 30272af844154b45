"""An import as it is asked for, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from tfx_pipeline.datasets.importer.catalogue_and_users import CatalogueColumns
from tfx_pipeline.datasets.importer.catalogue_and_users import UserColumns
from tfx_pipeline.datasets.importer.event_rows import EventColumns
from tfx_pipeline.datasets.importer.input_files import Reading
from tfx_pipeline.datasets.importer.time_format import TimeOptions
from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.timestamps import DAY


@dataclass(frozen=True)
class ImportRequest:
    """Files and what their columns are.

    Attributes:
        files: Files, folders and patterns of events.
        out: Directory of the event log to make.
        events: Columns of the events.
        catalogue: Columns of the catalogue; of the events' files without `catalogue_files`.
        catalogue_files: Files, folders and patterns of the catalogue.
        users: Columns of the users' files; None without any.
        users_files: Files, folders and patterns of the users.
        available_from_first_event: Whether items are available from their first event.
        times: What the user says of times.
        reading: What the user says of the events' files.
        catalogue_reading: What the user says of the catalogue's files.
        users_reading: What the user says of the users' files.
        max_dead_letter_fraction: Largest share of a table that may be left out.
        overwrite: Whether an event log at `out` may be replaced.
    """

    files: Sequence[str]
    out: Path
    events: EventColumns
    catalogue: CatalogueColumns
    catalogue_files: Sequence[str] = ()
    users: UserColumns | None = None
    users_files: Sequence[str] = ()
    available_from_first_event: bool = False
    times: TimeOptions = TimeOptions()
    reading: Reading = Reading()
    catalogue_reading: Reading = Reading()
    users_reading: Reading = Reading()
    max_dead_letter_fraction: float = 0.01
    overwrite: bool = False

    @property
    def ordinal(self) -> bool:
        """True where the order of the rows stands in for times."""
        return self.events.time is None


@dataclass
class Imported:
    """Counts of an import.

    Attributes:
        manifest: The log's manifest.
        items: Distinct items of the events.
        span: First and last time in microseconds.
        repeats: Share of events that repeat an item of their user.
        sampled: The repeats are those of one user of 2^sampled.
        unknown_items: Items of the events that the catalogue lacks.
        unknown_events: Events about them.
        left_out: What was left out and why, a line each; "" for nothing.
        remarks: What else is worth a look, a sentence each.
    """

    manifest: Manifest
    items: int = 0
    span: tuple[int, int] | None = None
    repeats: float = 0.0
    sampled: int = 0
    unknown_items: int = 0
    unknown_events: int = 0
    left_out: str = ""
    remarks: list[str] = field(default_factory=list)

    @property
    def days(self) -> float:
        """Days from the first event to the last one."""
        return (self.span[1] - self.span[0]) / DAY if self.span else 0.0
