"""Rows that an import leaves out: written beside the log with their reason, counted, judged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from tfx_pipeline.datasets.dead_letter import DIRECTORY
from tfx_pipeline.datasets.dead_letter import as_text
from tfx_pipeline.datasets.dead_letter import label
from tfx_pipeline.datasets.importer.blocks import Broken
from tfx_pipeline.datasets.rules import excess
from tfx_pipeline.datasets.schemas import CATALOGUE
from tfx_pipeline.datasets.schemas import EVENTS
from tfx_pipeline.datasets.schemas import USERS
from transforms.arrow import pa
from transforms.arrow import pq

_NAMES = dict.fromkeys(
    [*EVENTS.names, *CATALOGUE.names, *USERS.names, "text", "table", "file", "reason"]
)
_SCHEMA = pa.schema([*((name, pa.string()) for name in _NAMES), ("row", pa.int64())])
_SHOWN_CHARACTERS = 60
_DECIMAL_COMMA = re.compile(r"-?\d*,\d+$")


class DeadLetters:
    """Writes dead letters as they come and counts them.

    Attributes:
        counts: Table -> reason -> rows that are left out.
        repaired: Table -> reason -> values that are dropped from their rows.
        rows: Rows of each table that were read.
    """

    def __init__(self, directory: Path) -> None:
        """Takes the directory of the log in the making."""
        self._directory = directory / DIRECTORY
        self._writer: pq.ParquetWriter | None = None
        self._samples: dict[tuple[str, str], str] = {}
        self.counts: dict[str, dict[str, int]] = {}
        self.repaired: dict[str, dict[str, int]] = {}
        self.rows: Counter[str] = Counter()

    def __enter__(self) -> DeadLetters:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(
        self,
        table: str,
        file: str,
        columns: Mapping[str, pa.ChunkedArray],
        numbers: np.ndarray,
        reasons: Sequence[str],
    ) -> None:
        """Adds rows.

        Args:
            table: `events`, `catalogue` or `users`.
            file: Where they are from.
            columns: What they hold, [n] each, under the names of the log's columns.
            numbers: [n] their numbers in the file.
            reasons: What is wrong with each.
        """
        if not len(numbers):
            return
        named = {name: as_text(column) for name, column in columns.items()}
        letters = label(named, table, reasons, [file] * len(numbers), numbers)
        counts = self.counts.setdefault(table, {})
        for reason, count in Counter(reasons).items():
            counts[reason] = counts.get(reason, 0) + count
            if (table, reason) not in self._samples:
                row = letters.slice(reasons.index(reason), 1).to_pylist()[0]
                self._samples[table, reason] = _sample(row, list(named))
        if self._writer is None:
            self._directory.mkdir()
            path = self._directory / "part-00000.parquet"
            self._writer = pq.ParquetWriter(path, _SCHEMA, compression="zstd")
        for field in _SCHEMA:
            if field.name not in letters.column_names:
                letters = letters.append_column(field, pa.nulls(len(numbers), field.type))
        self._writer.write_table(letters.select(_SCHEMA.names).cast(_SCHEMA))

    def add_broken(self, table: str, file: str, rows: Sequence[Broken]) -> None:
        """Adds rows that cannot be split into columns; they have not been counted as read."""
        self.rows[table] += len(rows)
        columns = {"text": pa.chunked_array([pa.array([row.text for row in rows], pa.string())])}
        numbers = np.array([row.number for row in rows], np.int64)
        self.add(table, file, columns, numbers, [row.reason for row in rows])

    def repair(self, table: str, reason: str, bad: np.ndarray, column: pa.Array) -> None:
        """Counts values that are dropped from their rows.

        Args:
            table: `events`, `catalogue` or `users`.
            reason: What is wrong with them.
            bad: [n] bool, which rows have one.
            column: [n] the values as the file has them, for an example.
        """
        if not bad.any():
            return
        counts = self.repaired.setdefault(table, {})
        counts[reason] = counts.get(reason, 0) + int(bad.sum())
        if (table, reason) not in self._samples:
            first = column.slice(int(np.argmax(bad)), 1)
            example = as_text(pa.chunked_array([first]))[0].as_py() or ""
            hint = "; `--decimal-comma` reads it" if _DECIMAL_COMMA.match(example) else ""
            self._samples[table, reason] = f", e.g. `{example[:_SHOWN_CHARACTERS]}`{hint}"

    def notes(self) -> dict[str, Any]:
        """Returns the counts for a manifest; empty when nothing was left out."""
        notes = {"rows_left_out": self.counts, "values_dropped": self.repaired}
        return {name: counts for name, counts in notes.items() if counts}

    def text(self) -> str:
        """Returns the counts, a line a reason with its first row."""
        lines = []
        for table, counts in self.counts.items():
            for reason, count in sorted(counts.items(), key=lambda pair: -pair[1]):
                lines.append(f"  left out {count:,} of {table}: {reason}")
                lines.append(f"    e.g. {self._samples[table, reason]}")
        for table, counts in self.repaired.items():
            for reason, count in counts.items():
                example = self._samples.get((table, reason), "")
                lines.append(f"  taken for missing, {count:,} of {table}: {reason}{example}")
        return "\n".join(lines)

    def require(self, most: float) -> None:
        """Raises when too large a share of a table is left out.

        Raises:
            ValueError: It names the share, the reasons and a row of each.
        """
        if told := excess(self.counts, self.rows, most):
            told = told.replace("max_dead_letter_fraction", "`--max-dead-letter-fraction`")
            raise ValueError(
                f"{told} Nothing was written. Mend the files, or allow more.\n{self.text()}"
            )


def _sample(row: Mapping[str, Any], names: Sequence[str]) -> str:
    values = {name: row[name] for name in names}
    shown = [f"{name}={repr(value)[:_SHOWN_CHARACTERS]}" for name, value in values.items()]
    return f"{row['file']}, row {row['row']:,}: " + ", ".join(shown)
