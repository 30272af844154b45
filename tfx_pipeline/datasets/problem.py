"""Problems that a check of an event log finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfx_pipeline.datasets.columns import Batch
from tfx_pipeline.datasets.rules import RULES
from tfx_pipeline.datasets.rules import Rule
from tfx_pipeline.datasets.rules import Severity
from tfx_pipeline.datasets.rules import reason
from tfx_pipeline.datasets.schemas import schema_of
from transforms.arrow import pa

Counts = dict[str, dict[str, int]]
SAMPLES = 3
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Problem:
    """One finding about an event log.

    Attributes:
        kind: Which rule applies, e.g. `missing-column`; see `rules.RULES`.
        table: `events`, `catalogue`, `users`, `features.<name>`, or `log` for the whole.
        column: The column, if it is one.
        count: How many rows (or files, users) it concerns.
        message: What was expected, what was found, and what to do.
        samples: The first few places, each with `file` and, for rows, `row`
            (from 0) and the values that matter.
    """

    kind: str
    table: str
    column: str | None
    count: int
    message: str
    samples: tuple[dict[str, Any], ...] = ()

    @property
    def rule(self) -> Rule:
        """The rule that applies."""
        return RULES[self.kind]

    @property
    def severity(self) -> Severity:
        """`error` when a run fails or leaves rows out, `warning`, or `info`."""
        return self.rule.severity

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
        file: Name of the file below the log's directory.
        first: Place of the first row in its file.
        number: Place of the first row in the whole table.
        batch: The rows; `place` has each row's offset from `first`.
        place: [n] int64.
    """

    file: str
    first: int
    number: int
    batch: Batch
    place: np.ndarray

    def where(self, keep: np.ndarray) -> Rows:
        """Returns the rows at which a mask [n] bool holds."""
        if keep.all():
            return self
        return Rows(self.file, self.first, self.number, self.batch.filter(keep), self.place[keep])

    def numbers(self) -> np.ndarray:
        """Returns each row's place in the whole table, [n] int64."""
        return self.number + self.place


class Findings:
    """Gathers problems, summing what is found in many pieces of a table.

    Attributes:
        left_out: Table -> reason -> rows that a run leaves out.
        repaired: Table -> reason -> values that a run drops from their rows.
        refused: Whether something is found with which no run uses the log.
    """

    def __init__(self) -> None:
        """Starts with none."""
        self.left_out: Counts = {}
        self.repaired: Counts = {}
        self.refused = False
        self._problems: list[Problem] = []
        self._open: dict[tuple[str, str, str], _Open] = {}

    def add(self, problem: Problem) -> None:
        """Adds a problem that is found once."""
        self._problems.append(problem)
        self.refused = self.refused or problem.rule.effect == "refuse"
        self._count(problem.kind, problem.table, problem.column or "", problem.count)

    def rows(
        self,
        kind: str,
        column: str,
        rows: Rows,
        bad: np.ndarray,
        hint: str = "",
        show: tuple[str, ...] = (),
    ) -> None:
        """Adds rows at which a mask holds to the problem of this kind.

        Args:
            kind: Which rule applies.
            column: Of which column.
            rows: The rows looked at.
            bad: [n] bool, which of them are meant.
            hint: What completes the rule's message; the first one is kept.
            show: Columns whose values go into the samples, besides `column`.
        """
        places = np.flatnonzero(bad)
        if not len(places):
            return
        table = rows.batch.table
        entry = self._open.setdefault((kind, table, column), _Open(hint))
        entry.count += len(places)
        self._count(kind, table, column, len(places))
        columns = [name for name in dict.fromkeys([column, *show]) if rows.batch.has(name)]
        for place in places[: SAMPLES - len(entry.samples)]:
            sample = {"file": rows.file, "row": int(rows.first + rows.place[place])}
            raw = rows.batch.rows
            values = {
                name: plain_value(raw.column(raw.schema.get_field_index(name))[int(place)])
                for name in columns
                # Nobody reads an image.
                if not pa.types.is_binary(schema_of(table).field(name).type)
            }
            entry.samples.append(sample | values)

    def close(self, totals: Mapping[str, int]) -> list[Problem]:
        """Returns all problems, errors first.

        Args:
            totals: Rows of each table.
        """
        for (kind, table, column), entry in self._open.items():
            message = RULES[kind].message.format(
                count=f"{entry.count:,}", rows=f"{totals.get(table, 0):,}", hint=entry.hint
            )
            samples = tuple(entry.samples)
            self._problems.append(Problem(kind, table, column, entry.count, message, samples))
        self._open.clear()
        order = ("error", "warning", "info")
        return sorted(self._problems, key=lambda p: order.index(p.severity))

    def _count(self, kind: str, table: str, column: str, count: int) -> None:
        counts = {"reject": self.left_out, "repair": self.repaired}.get(RULES[kind].effect)
        if counts is not None:
            of_table, why = counts.setdefault(table, {}), reason(kind, column, table)
            of_table[why] = of_table.get(why, 0) + count


class _Open:
    """A problem that still grows."""

    def __init__(self, hint: str) -> None:
        self.hint = hint
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
    except ValueError:  # a time finer than microseconds
        return str(scalar)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
