"""What a check of an event log finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from typing import Literal

import numpy as np

from transforms.arrow import pa

Severity = Literal["error", "warning", "info"]
SAMPLES = 3
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Problem:
    """One finding about an event log.

    Attributes:
        severity: `error` when a run would fail or leave rows out, `warning`
            when it works but hardly as meant, `info` when it is good to know.
        kind: Name of the check, e.g. `missing-column`.
        table: `events`, `catalogue`, `users`, or `log` for the whole.
        column: The column, if it is one.
        count: How many rows (or files, users) it concerns.
        message: What was expected, what was found, and what to do.
        samples: The first few places, each with `file` and, for rows, `row`
            (from 0) and the values that matter.
    """

    severity: Severity
    kind: str
    table: str
    column: str | None
    count: int
    message: str
    samples: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        """Returns the finding as a few lines of plain text."""
        place = self.table if self.column is None else f"{self.table}.{self.column}"
        lines = [f"{self.severity}: {place}: {self.message} [{self.kind}]"]
        for sample in self.samples:
            values = ", ".join(f"{key}={_shown(value)}" for key, value in sample.items())
            lines.append(f"    {values}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Rows:
    """Some rows of one file.

    Attributes:
        table: Name of the table.
        file: Name of the file below the log's directory.
        first: Place of the first row in its file.
        number: Place of the first row in the whole table.
        data: The rows; `place` has each row's offset from `first`.
        place: [n] int64.
    """

    table: str
    file: str
    first: int
    number: int
    data: pa.Table
    place: np.ndarray

    def where(self, keep: np.ndarray) -> Rows:
        """Returns the rows at which a mask [n] bool holds."""
        data = self.data.filter(pa.array(keep))
        return Rows(self.table, self.file, self.first, self.number, data, self.place[keep])

    def numbers(self) -> np.ndarray:
        """Returns each row's place in the whole table, [n] int64."""
        return self.number + self.place


class Findings:
    """Gathers problems, summing what is found in many pieces of a table."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._open: dict[tuple[str, str, str | None], _Open] = {}

    def add(self, problem: Problem) -> None:
        """Adds a problem that is found once."""
        self._problems.append(problem)

    def rows(
        self,
        severity: Severity,
        kind: str,
        column: str | None,
        rows: Rows,
        bad: np.ndarray,
        message: str,
        show: tuple[str, ...] = (),
    ) -> None:
        """Adds rows at which a mask holds to the problem of this kind.

        Args:
            severity: See `Problem`.
            kind: See `Problem`.
            column: See `Problem`.
            rows: The rows looked at.
            bad: [n] bool, which of them are meant.
            message: The message, in which `{count}` and `{rows}` stand for the
                number of rows found and of rows in the table.
            show: Columns whose values go into the samples, besides `column`.
        """
        places = np.flatnonzero(bad)
        if not len(places):
            return
        key = (kind, rows.table, column)
        entry = self._open.setdefault(key, _Open(severity, message))
        entry.count += len(places)
        columns = dict.fromkeys([column, *show] if column else show)
        for place in places[: SAMPLES - len(entry.samples)]:
            sample = {"file": rows.file, "row": int(rows.first + rows.place[place])}
            values = {c: plain_value(rows.data.column(c)[int(place)]) for c in columns}
            entry.samples.append(sample | values)

    def close(self, totals: dict[str, int]) -> list[Problem]:
        """Returns all problems, errors first.

        Args:
            totals: Rows of each table.
        """
        for (kind, table, column), entry in self._open.items():
            message = entry.message.replace("{count}", f"{entry.count:,}")
            message = message.replace("{rows}", f"{totals.get(table, 0):,}")
            self.add(
                Problem(
                    entry.severity, kind, table, column, entry.count, message, tuple(entry.samples)
                )
            )
        self._open.clear()
        order = ("error", "warning", "info")
        return sorted(self._problems, key=lambda p: order.index(p.severity))


class _Open:
    """A problem that still grows."""

    def __init__(self, severity: Severity, message: str) -> None:
        self.severity: Severity = severity
        self.message = message
        self.count = 0
        self.samples: list[dict[str, Any]] = []


def counted(count: int, noun: str) -> str:
    """Returns `1 file`, `2 files`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def plain_value(scalar: pa.Scalar) -> Any:
    """Returns an Arrow value as a Python one; text that is not UTF-8 as bytes."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        if pa.types.is_list(scalar.type):
            return scalar.values.cast(pa.binary()).to_pylist()
        return scalar.as_buffer().to_pybytes()


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
