"""Imports CSV, JSON lines and Parquet files as an event log, a block of rows at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from tfx_pipeline.datasets.event_log_writer import EventLogWriter
from tfx_pipeline.datasets.importer.blocks import InputFile
from tfx_pipeline.datasets.importer.catalogue_and_users import CatalogueRows
from tfx_pipeline.datasets.importer.catalogue_and_users import DescribedItems
from tfx_pipeline.datasets.importer.catalogue_and_users import UserRows
from tfx_pipeline.datasets.importer.catalogue_and_users import entity_names
from tfx_pipeline.datasets.importer.catalogue_and_users import with_first_event
from tfx_pipeline.datasets.importer.dead_letters import DeadLetters
from tfx_pipeline.datasets.importer.event_counts import ItemTally
from tfx_pipeline.datasets.importer.event_counts import RepeatTally
from tfx_pipeline.datasets.importer.event_rows import EventRows
from tfx_pipeline.datasets.importer.input_files import Reading
from tfx_pipeline.datasets.importer.input_files import find_files
from tfx_pipeline.datasets.importer.input_files import open_input
from tfx_pipeline.datasets.importer.keyed_rows import KeyedRows
from tfx_pipeline.datasets.importer.request import Imported
from tfx_pipeline.datasets.importer.request import ImportRequest
from tfx_pipeline.datasets.importer.time_column import TIMES_OF_ITEMS
from tfx_pipeline.datasets.importer.time_column import TimeColumn
from tfx_pipeline.datasets.importer.time_column import TimeRange
from tfx_pipeline.datasets.importer.time_column import times_of_events
from tfx_pipeline.datasets.importer.time_format import check_zone
from tfx_pipeline.datasets.importer.values import in_two_forms
from tfx_pipeline.datasets.limits import Limits
from tfx_pipeline.datasets.limits import find_limits
from tfx_pipeline.datasets.manifest import Distinct
from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.schemas import EVENTS_TABLE
from transforms.arrow import pa
from transforms.arrow import pc

_LEAST_MATCH = 0.05  # share of events about items of the catalogue, as a run asks for
_SHOWN = 3

Say = Callable[[str], None]


def import_log(request: ImportRequest, say: Say = lambda line: None) -> Imported:
    """Turns files into an event log.

    Args:
        request: The files, and what their columns are.
        say: Receives a line about each file: its format and that of its times.

    Returns:
        What was imported.

    Raises:
        FileExistsError: If `out` may not be replaced.
        FileNotFoundError: If a file is not there.
        ValueError: If a file cannot be read, a column is missing, times are ambiguous, or too
            many rows cannot be used. Nothing is written then.
    """
    if request.times.zone:
        check_zone(request.times.zone)
    inputs = _open(request.files, _wanted(request), request.reading)
    manifest = Manifest(
        name=request.out.absolute().name,
        source=", ".join(Path(file.name).name for file in inputs[:_SHOWN])
        + (f" and {len(inputs) - _SHOWN} more" if len(inputs) > _SHOWN else ""),
        time="ordinal" if request.ordinal else "real",
        tie_order="the rows of the files",
    )
    with EventLogWriter(request.out, manifest, request.overwrite) as writer:
        with DeadLetters(writer.directory) as letters:
            work = _Import(request, letters, find_limits(manifest, []), say)
            catalogue = work.read_catalogue()
            users = work.read_users()
            for events in work.read_events(inputs):
                writer.write_events(events)
            letters.require(request.max_dead_letter_fraction)
            if not work.items.events:
                raise ValueError(f"There is no row of events in {', '.join(request.files)}.")
            work.check_options()
            found = work.imported(manifest, catalogue)
            found.remarks = work.remarks(users)
            writer.write_catalogue(work.catalogue(catalogue))
            if users is not None:
                writer.write_users(users)
        writer.manifest = manifest.model_copy(update={"notes": letters.notes() | work.notes})
    return dataclasses.replace(found, manifest=writer.manifest)


def _wanted(request: ImportRequest) -> list[str]:
    """Returns the columns of the events' files that are read."""
    described = [] if request.catalogue_files else request.catalogue.sources()
    return list(dict.fromkeys([*request.events.sources().values(), *described]))


def _open(patterns: Sequence[str], wanted: Sequence[str], reading: Reading) -> list[InputFile]:
    """Opens files, all of which have the columns."""
    inputs = (
        [open_input(path, wanted, reading) for path in find_files(patterns)] if patterns else []
    )
    for file in inputs:
        file.require(wanted)
    return inputs


@dataclass
class _Import:
    """An import under way.

    Attributes:
        request: What is asked for.
        letters: Receives rows that cannot be used.
        limits: What rows have to keep to.
        say: Receives a line about each file.
        items: The events' items.
        repeats: The events' repeats.
        users: The events' users.
        given: Whether a column of a table has a value in any row.
        span: First and last time.
        notes: For the manifest.
        time_columns: Columns of times of the files so far.
    """

    request: ImportRequest
    letters: DeadLetters
    limits: Limits
    say: Say
    items: ItemTally = field(default_factory=ItemTally)
    repeats: RepeatTally = field(default_factory=RepeatTally)
    users: Distinct = field(default_factory=Distinct)
    given: dict[tuple[str, str], bool] = field(default_factory=dict)
    span: tuple[int, int] | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    time_columns: list[TimeColumn] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rows = CatalogueRows(self.request.catalogue, self.limits, self.letters)
        derived = not self.request.catalogue_files and self.request.catalogue.describes()
        self.described = DescribedItems(self.rows) if derived else None

    def read_catalogue(self) -> pa.Table | None:
        """Reads the catalogue's files; None without any."""
        if not self.request.catalogue_files:
            return None
        inputs = _open(
            self.request.catalogue_files, self.rows.sources(), self.request.catalogue_reading
        )
        return self._read_keyed(self.rows, inputs, self.request.catalogue.available_from)

    def read_users(self) -> pa.Table | None:
        """Reads the users' files; None without any."""
        if self.request.users is None:
            return None
        rows = UserRows(self.request.users, self.limits, self.letters)
        inputs = _open(self.request.users_files, rows.sources(), self.request.users_reading)
        return self._read_keyed(rows, inputs, None)

    def _read_keyed(
        self, rows: KeyedRows, inputs: Sequence[InputFile], time_column: str | None
    ) -> pa.Table:
        """Reads the files of a table that has files of its own."""
        for file in inputs:
            times = self._time_column(time_column, file, TIMES_OF_ITEMS)
            for block in file.blocks(rows.sources()):
                self.letters.add_broken(rows.name, file.name, block.broken)
                self._look(rows.name, block.rows)
                if block.rows.num_rows:
                    rows.add(block, file.name, times)
            self._tell(file, times)
        read = rows.rows()
        self.letters.require(self.request.max_dead_letter_fraction)
        return read

    def read_events(self, inputs: Sequence[InputFile]) -> Iterator[pa.Table]:
        """Yields the events of all files, a block at a time."""
        first, wanted = 0, _wanted(self.request)
        columns = self.request.events
        for file in inputs:
            times = self._time_column(columns.time, file, times_of_events())
            described_from = self.request.catalogue.available_from if self.described else None
            available = self._time_column(described_from, file, TIMES_OF_ITEMS)
            rows = EventRows(columns, file.name, times, self.limits, self.letters)
            for number, block in enumerate(file.blocks(wanted)):
                self.letters.add_broken(EVENTS_TABLE, file.name, block.broken)
                self._look(EVENTS_TABLE, block.rows)
                events, kept = rows.convert(block, first)
                if self.described and events.num_rows:
                    source = block.rows.take(pa.array(kept))
                    self.described.add(source, events, file.name, available)
                if not number:
                    self._tell(file, times, available)
                    if 2 * len(kept) < block.rows.num_rows + len(block.broken):
                        # A wrong column or delimiter: the other blocks would be no better.
                        self.letters.require(self.request.max_dead_letter_fraction)
                if file is inputs[-1] and all(column.format for column in self.time_columns):
                    self.check_options()  # before all the rest is read
                first += block.rows.num_rows
                if events.num_rows:
                    self._count(events)
                    yield events

    def check_options(self) -> None:
        """Refuses what the user says of times if it fits no column; see `check_use`."""
        self.request.times.check_use([c.format for c in self.time_columns if c.format])

    def catalogue(self, given: pa.Table | None) -> pa.Table:
        """Returns the rows of the catalogue: those given, or those of the events' items."""
        items = self.items.table()
        if given is None:
            given = self.described.table() if self.described else None
        if given is None:
            given = items.select(["entity_type", "entity_id"])
        return with_first_event(given, items) if self.request.available_from_first_event else given

    def imported(self, manifest: Manifest, catalogue: pa.Table | None) -> Imported:
        """Returns the counts.

        Raises:
            ValueError: Hardly an event is about an item of the given catalogue.
        """
        items = self.items.table()
        found = Imported(manifest, items.num_rows, self.span, left_out=self.letters.text())
        found.repeats, found.sampled = self.repeats.share(), self.repeats.level
        if catalogue is not None:
            known = pc.is_in(entity_names(items), value_set=entity_names(catalogue))
            unknown = items.filter(pc.invert(known))
            found.unknown_items = unknown.num_rows
            found.unknown_events = pc.sum(unknown.column("events")).as_py() or 0
            if self.items.events - found.unknown_events < _LEAST_MATCH * self.items.events:
                raise ValueError(_mismatch(unknown, catalogue, found, self.items.events))
        return found

    def remarks(self, users: pa.Table | None) -> list[str]:
        """Returns what is worth a look though no row is left out for it."""
        of_events = self.users.values()
        told = [
            f"`{column}` of the {table} has no value in any row."
            for (table, column), given in self.given.items()
            if not given
        ]
        if users is not None:
            named = users.column("user_id").cast(pa.string())
            known = pc.sum(pc.is_in(named, value_set=of_events)).as_py()
            told.append(f"users: {len(named):,} rows, {known:,} of them of users of the events.")
        items = self.items.table().column("entity_id").cast(pa.string())
        for kind, ids in (("users", of_events), ("items", items)):
            if len(both := in_two_forms(ids)):
                example = both[0].as_py()
                told.append(
                    f"{len(both):,} numbers stand among the {kind} in two forms, e.g. `{example}` "
                    f"and `{example.partition('.')[0]}`, which count as two: write them alike."
                )
        return told

    def _look(self, table: str, rows: pa.Table) -> None:
        """Looks which columns of a table's files have a value in the next rows."""
        for name, column in zip(rows.column_names, rows.columns, strict=True):
            has_value = column.null_count < rows.num_rows
            self.given[table, name] = self.given.get((table, name), False) or has_value

    def _count(self, events: pa.Table) -> None:
        self.items.add(events)
        users = events.column("user_id").combine_chunks()
        self.repeats.add(users, entity_names(events))
        self.users.add(events.column("user_id").cast(pa.string()))
        span = pc.min_max(events.column("timestamp")).as_py()
        low, high = self.span or (span["min"], span["max"])
        self.span = min(low, span["min"]), max(high, span["max"])

    def _time_column(
        self, column: str | None, file: InputFile, expected: TimeRange
    ) -> TimeColumn | None:
        """Returns how a column of times is read; None when there is none."""
        if column is None:
            return None
        most_bad = self.request.max_dead_letter_fraction
        self.time_columns.append(
            TimeColumn(column, file.name, self.request.times, most_bad, expected)
        )
        return self.time_columns[-1]

    def _tell(self, file: InputFile, *columns: TimeColumn | None) -> None:
        """Says what a file and its columns of times were found to be."""
        line = f"{file.name}: {file.format}"
        for times in filter(None, columns):
            line += f"; {times.name}: {times.format or 'no time'}"
            formats = self.notes.setdefault("times", {}).setdefault(times.name, [])
            if times.format and str(times.format) not in formats:
                formats.append(str(times.format))
        self.say(line)


def _mismatch(unknown: pa.Table, catalogue: pa.Table, found: Imported, events: int) -> str:
    """Says that the ids of events and catalogue do not meet."""
    sides = [
        ", ".join(f"`{name}`" for name in entity_names(rows.slice(0, _SHOWN)).to_pylist())
        for rows in (unknown, catalogue)
    ]
    return (
        f"{found.unknown_events:,} of {events:,} events are about items that are not in the "
        f"catalogue. The events name for instance {sides[0]}, the catalogue {sides[1]}. Is "
        "`--catalogue-id` the column of the ids that the events have, and are they written alike?"
    )
