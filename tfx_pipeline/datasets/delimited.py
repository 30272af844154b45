"""Reads delimited text in which single rows may be broken, and keeps count of them."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transforms.arrow import csv
from transforms.arrow import pa
from transforms.arrow import pc

_PATTERNS = {pa.int64(): r"^-?[0-9]{1,18}$", pa.float32(): r"^-?[0-9]+(\.[0-9]*)?$"}
_SAMPLES = 5


class RowReport:
    """Counts the rows that were read and those that were left out, by reason."""

    def __init__(self, what: str) -> None:
        """Starts a report.

        Args:
            what: Name of the file for messages.
        """
        self.what = what
        self.kept = 0
        self.left_out: dict[str, int] = {}
        self.samples: list[str] = []

    def leave_out(self, reason: str, count: int, samples: list[str]) -> None:
        """Counts rows that are left out."""
        if count:
            self.left_out[reason] = self.left_out.get(reason, 0) + count
            self.samples.extend(samples[: max(0, _SAMPLES - len(self.samples))])

    def require(self, max_fraction: float) -> None:
        """Raises when too many rows were left out.

        Raises:
            ValueError: If their share is above `max_fraction`, or none is left.
        """
        bad = sum(self.left_out.values())
        if bad > max_fraction * (bad + self.kept) or not self.kept:
            raise ValueError(
                f"{self.what}: {bad:,} of {bad + self.kept:,} rows cannot be read "
                f"({self.left_out}), e.g. {self.samples[:3]}; at most {max_fraction:.1%} may be. "
                f"Is it the right file, and complete?"
            )

    def notes(self) -> dict[str, Any]:
        """Returns the counts for a manifest; empty when nothing was left out."""
        if not self.left_out:
            return {}
        return {"rows_left_out": dict(self.left_out), "samples_left_out": list(self.samples)}


def read_delimited(
    source: str | Path | pa.Buffer,
    columns: Mapping[str, pa.DataType],
    delimiter: str,
    report: RowReport,
) -> Iterator[pa.Table]:
    """Yields the good rows of a delimited file without header or quotes, in blocks.

    Args:
        source: Path, decompressed by its extension (`.gz`), or the bytes.
        columns: Names in the file's order and types: string, int64 or float32.
        delimiter: One character.
        report: Receives the counts.

    Yields:
        Tables with these columns.

    Raises:
        ValueError: If the file is empty or not UTF-8 text.
    """

    def on_wrong_width(row: csv.InvalidRow) -> str:
        reason = f"{row.actual_columns} fields instead of {row.expected_columns}"
        report.leave_out(reason, 1, [row.text])
        return "skip"

    stream = (
        pa.BufferReader(source)
        if isinstance(source, pa.Buffer)
        else pa.input_stream(str(source), compression="detect")
    )
    try:
        reader = csv.open_csv(
            stream,
            read_options=csv.ReadOptions(column_names=list(columns), block_size=1 << 24),
            parse_options=csv.ParseOptions(
                delimiter=delimiter, quote_char=False, invalid_row_handler=on_wrong_width
            ),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string())),
        )
        for batch in reader:
            table = _typed(pa.Table.from_batches([batch]), columns, report)
            report.kept += table.num_rows
            yield table
    except pa.ArrowException as error:
        raise ValueError(f"{report.what}: not text of {list(columns)}: {error}") from error


def read_whole(
    source: str | Path | pa.Buffer,
    columns: Mapping[str, pa.DataType],
    delimiter: str,
    report: RowReport,
    max_bad_fraction: float = 0.01,
) -> pa.Table:
    """Reads the good rows of a delimited file at once; see `read_delimited`.

    Raises:
        ValueError: If the file is empty or not UTF-8 text, or too many of its
            rows cannot be read.
    """
    blocks = list(read_delimited(source, columns, delimiter, report))
    report.require(max_bad_fraction)
    return pa.concat_tables(blocks).combine_chunks()


def _typed(table: pa.Table, columns: Mapping[str, pa.DataType], report: RowReport) -> pa.Table:
    """Casts columns of numbers, leaving out the rows whose text is none."""
    for name, kind in columns.items():
        if kind not in _PATTERNS:
            continue
        good = pc.match_substring_regex(table.column(name), _PATTERNS[kind])
        bad = table.filter(pc.invert(good))
        if bad.num_rows:
            samples = [str(row) for row in bad.slice(0, _SAMPLES).to_pylist()]
            report.leave_out(f"`{name}` is not a number", bad.num_rows, samples)
            table = table.filter(good)
        column = table.column(name).cast(kind)
        table = table.set_column(table.column_names.index(name), name, column)
    return table
