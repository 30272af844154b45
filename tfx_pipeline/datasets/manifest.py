"""Manifest of an event log: `manifest.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from typing import Literal

from pydantic import ValidationError

from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from tfx_pipeline.datasets.schemas import EVENTS_TABLE
from tfx_pipeline.datasets.schemas import MANIFEST_NAME
from tfx_pipeline.datasets.table_files import parquet_files
from transforms.arrow import pa
from transforms.arrow import parquet_file
from transforms.arrow import pc
from transforms.arrow import read_table
from transforms.base_config import Config
from transforms.storage import place


class Manifest(Config):
    """Origin, kind of time and counts of an event log.

    Attributes:
        name: Name of the dataset.
        version: Version of the data; a changed simulator or protocol changes it.
        source: Where the data came from, in words or as an address.
        time: `real` when timestamps are true times, `ordinal` when they only
            order the events of a user (no time feature, no time-cut split).
        tie_order: How events of a user at the same time are ordered.
        events: Rows of the events table.
        users: Distinct users of the events table.
        entities: Catalogue rows of each entity type.
        event_types: Distinct values of the column `event`, sorted.
        notes: What else is worth keeping, e.g. counts of rows left out.
    """

    name: str
    version: str = "1"
    source: str = ""
    time: Literal["real", "ordinal"] = "real"
    tie_order: str = "the source's order"
    events: int = 0
    users: int = 0
    entities: dict[str, int] = {}
    event_types: list[str] = []
    notes: dict[str, Any] = {}

    @classmethod
    def read(cls, directory: str | Path) -> Manifest:
        """Reads `manifest.json` of an event log.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it is not JSON or has a wrong or unknown key.
        """
        path = place(directory) / MANIFEST_NAME
        if not path.is_file():
            raise FileNotFoundError(
                f"`{path}` is missing. An event log says its name and its kind of time there, "
                f'at least {{"name": "my-shop", "time": "real"}}.'
            )
        try:
            values = json.loads(path.read_bytes())
        except ValueError as error:
            raise ValueError(
                f"`{path}` must be a JSON object; it does not parse: {error}"
            ) from error
        if not isinstance(values, dict):
            raise ValueError(f"`{path}` must be a JSON object; it holds a {type(values).__name__}.")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            told = [
                ".".join(str(part) for part in fault["loc"])
                + (": " if fault["loc"] else "")
                + fault["msg"].removeprefix("Value error, ")
                + (f"; received {fault['input']!r}" if fault["loc"] else "")
                for fault in error.errors(include_url=False)
            ]
            raise ValueError(
                f"`{path}` is not valid. " + " ".join(t.rstrip(".") + "." for t in told)
            ) from None

    def write(self, directory: str | Path) -> None:
        """Writes `manifest.json` into a directory."""
        text = json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False)
        Path(directory, MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")

    def with_counts(self, directory: str | Path) -> Manifest:
        """Returns the manifest with the counts of the tables below a directory.

        Reads two columns of the events and one of the catalogue, a row group
        at a time; keeps one string a user in memory.
        """
        events, users, types = 0, Distinct(), Distinct()
        for path in parquet_files(directory, EVENTS_TABLE):
            with parquet_file(path) as file:
                events += file.metadata.num_rows
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=["user_id", "event"])
                    users.add(table.column("user_id"))
                    types.add(table.column("event"))
        entities: dict[str, int] = {}
        for path in parquet_files(directory, CATALOGUE_TABLE):
            column = read_table(path, columns=["entity_type"]).column("entity_type")
            for count in pc.value_counts(column).to_pylist():
                entities[count["values"]] = entities.get(count["values"], 0) + count["counts"]
        return self.model_copy(
            update={
                "events": events,
                "users": len(users.values()),
                "entities": dict(sorted(entities.items())),
                "event_types": sorted(types.values().to_pylist()),
            }
        )


class Distinct:
    """Distinct strings of a column that comes in pieces."""

    def __init__(self) -> None:
        """Starts with none."""
        self._pieces: list[pa.Array] = []
        self._pending = 0
        self._kept = 0

    def add(self, column: pa.ChunkedArray) -> None:
        """Takes the next strings [n]; null is none."""
        piece = pc.unique(column).drop_null() if column.null_count else pc.unique(column)
        self._pieces.append(piece)
        self._pending += len(piece)
        if self._pending > max(1_000_000, self._kept):
            self._merge()

    def _merge(self) -> None:
        pieces = pa.chunked_array(self._pieces, pa.string())
        self._pieces = [pc.unique(pieces)]
        self._kept = len(self._pieces[0])
        self._pending = 0

    def values(self) -> pa.Array:
        """Returns the distinct strings so far, [n] string."""
        self._merge()
        return self._pieces[0]
