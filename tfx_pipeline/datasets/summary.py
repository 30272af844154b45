"""Summary of an event log, counted while its rows are checked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from dataclasses import field

from tfx_pipeline.datasets.columns import Batch
from tfx_pipeline.datasets.problem import counted
from tfx_pipeline.datasets.timestamps import date_of
from transforms.arrow import pa
from transforms.arrow import pc


@dataclass
class LogSummary:
    """Counts of an event log's rows, of those that a run uses.

    Attributes:
        users: Distinct users that have events.
        events: Rows of the events table by event type.
        entities: Rows of the catalogue by entity type.
        features: Entities of the catalogue that have a row of each declared field.
        times: The least and the greatest timestamp, in microseconds (or in the
            log's own order); None without any.
    """

    users: int = 0
    events: Counter[str] = field(default_factory=Counter)
    entities: Counter[str] = field(default_factory=Counter)
    features: Counter[str] = field(default_factory=Counter)
    times: tuple[int, int] | None = None

    def add_events(self, rows: Batch) -> None:
        """Counts rows of the events table."""
        self.events.update(_counts(rows.column("event")))
        self.times = _wider(self.times, rows.column("timestamp"))

    def add_entities(self, rows: Batch) -> None:
        """Counts rows of the catalogue."""
        self.entities.update(_counts(rows.column("entity_type")))

    def text(self, ordinal: bool) -> str:
        """Returns the counts, a line a table; rows that a run leaves out are not among them.

        Args:
            ordinal: Whether the log's times are an order only.
        """
        span = ", no time that can be read"
        if ordinal:
            span = ", an order and no times"
        elif self.times:
            span = ", from " + " to ".join(map(date_of, self.times))
        lines = [
            f"  users      {self.users:,}",
            f"  events     {_listed(self.events, 'event')}{span if self.events else ''}",
            f"  catalogue  {_listed(self.entities, 'row')}",
        ]
        if self.features:
            known = ", ".join(f"{name} {count:,}" for name, count in self.features.items())
            lines.append(f"  features   of the catalogue's entities, {known}")
        return "\n".join(lines)


def _counts(column: pa.Array) -> dict[str, int]:
    """Returns how often each text occurs."""
    pairs = pc.value_counts(column).to_pylist()
    return {pair["values"].decode(): pair["counts"] for pair in pairs if pair["values"] is not None}


def _wider(span: tuple[int, int] | None, column: pa.Array) -> tuple[int, int] | None:
    """Returns a span that has all values of a column too."""
    found = pc.min_max(column).as_py()
    if found["min"] is None:
        return span
    low, high = span or (found["min"], found["max"])
    return min(low, found["min"]), max(high, found["max"])


def _listed(counts: Counter[str], noun: str) -> str:
    """Returns the sum and, the most frequent first, names and counts."""
    if not counts:
        return "none that can be read"
    names = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
    return f"{counted(counts.total(), noun)} ({names})"
