"""Pairs of users and entities whose division into parts is given, and which have no times."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfx_pipeline.datasets.delimited import RowReport
from tfx_pipeline.datasets.delimited import read_delimited
from tfx_pipeline.datasets.download import SourceFile
from tfx_pipeline.datasets.download import obtain
from tfx_pipeline.datasets.sequences import SECOND
from tfx_pipeline.datasets.sequences import constant
from transforms.arrow import pa
from transforms.arrow import pc

PART_SECONDS = 1_000_000  # a part's events lie this far behind those of the part before


def read_pairs(
    file: SourceFile, source: str | Path | None, columns: Mapping[str, pa.DataType]
) -> pa.Table:
    """Reads a tab-separated file of which no row may be left out.

    Args:
        file: What to read.
        source: File or directory that has it; None looks it up.
        columns: Names and types.

    Raises:
        FileNotFoundError: The file is not at hand.
        ValueError: A row cannot be read.
    """
    path = obtain(file, source)
    report = RowReport(path.name)
    rows = pa.concat_tables(read_delimited(path, dict(columns), "\t", report))
    report.require(max_fraction=0.0)
    return rows


def events_of(rows: pa.Table, entity_type: str, column: str, event: str, part: int) -> pa.Table:
    """Makes events of pairs; `part` is a column of them, which `in_order` reads."""
    n = rows.num_rows
    return pa.table(
        {
            "user_id": rows.column("user"),
            "entity_type": constant(entity_type, n),
            "entity_id": rows.column(column),
            "event": constant(event, n),
            "part": pa.array(np.full(n, part, np.int64)),
        }
    )


def in_order(events: pa.Table, parts: int, seed: int) -> pa.Table:
    """Puts a user's events of each part in an order that is drawn, later parts behind.

    Args:
        events: Of `events_of`.
        parts: How many parts there are.
        seed: Of the order.

    Returns:
        The events with `timestamp` and `ordinal`; `timestamp // PART_SECONDS` seconds is the part.
    """
    order = np.random.default_rng(seed).permutation(events.num_rows)
    events = events.take(pa.array(order))
    part = events.column("part").to_numpy()
    times = (part * PART_SECONDS + _places(events, part, parts)) * SECOND
    events = events.drop(["part"]).append_column("timestamp", pa.array(times))
    return events.append_column("ordinal", pa.array(np.arange(events.num_rows)))


def _places(events: pa.Table, part: np.ndarray, parts: int) -> np.ndarray:
    """Returns each event's place among those of its user and part, in the order of the rows."""
    user = events.column("user_id").combine_chunks().dictionary_encode().indices.to_numpy()
    group = user.astype(np.int64) * parts + part
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    places = np.empty_like(group)
    places[order] = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    return places


def distinct(tables: list[pa.Table], column: str) -> pa.Array:
    """Returns the distinct values of a column of several tables."""
    chunks = [chunk for table in tables for chunk in table.column(column).chunks]
    return pc.unique(pa.chunked_array(chunks))
