"""Youshu: readers of a book shop, the book lists that they save, and the books in these.

Liang Chen et al. 2019. Matching User with Item Set: Collaborative Bundle Recommendation with
Deep Attention Network. IJCAI.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfx_pipeline.datasets.delimited import RowReport
from tfx_pipeline.datasets.delimited import read_delimited
from tfx_pipeline.datasets.download import SourceFile
from tfx_pipeline.datasets.download import obtain
from tfx_pipeline.datasets.event_log_writer import write_event_log
from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.sequences import SECOND
from tfx_pipeline.datasets.sequences import constant
from transforms.arrow import pa
from transforms.arrow import pc

HOMEPAGE = "https://github.com/yliuSYSU/DAM"
BUNDLE, ITEM = "bundle", "item"
SAVE, READ = "save", "read"
PARTS = ("train", "tune", "test")  # of the given split of users and bundles
PART_SECONDS = 1_000_000  # a part's events lie this far behind those of the part before
_BUNDLES = {part: SourceFile(f"youshu/user_bundle_{part}.txt.gz", HOMEPAGE) for part in PARTS}
_ITEMS = SourceFile("youshu/user_item.txt.gz", HOMEPAGE)
_LISTS = SourceFile("youshu/bundle_item.txt.gz", HOMEPAGE)


def prepare_youshu(
    out: str | Path, source: str | Path | None = None, overwrite: bool = False, seed: int = 0
) -> Manifest:
    """Turns Youshu into an event log: bundles that users save, items that they read.

    The source has no times. A user's events of the training part, of both kinds, are in an order
    that is drawn; those of the part `tune` come behind them and those of `test` last, each
    `PART_SECONDS` later, so that the given split can be read off the timestamps.

    Args:
        out: Directory of the event log to make.
        source: Directory of the five files. By default it is looked up.
        overwrite: Whether an event log at `out` may be replaced.
        seed: Of the order.

    Returns:
        The manifest as written.

    Raises:
        FileExistsError: If `out` may not be replaced.
        FileNotFoundError: If a file is not at hand.
        ValueError: If a file is not what it should be.
    """
    parts = [_read(_BUNDLES[part], source, "bundle") for part in PARTS]
    items = _read(_ITEMS, source, "item")
    lists = _read(_LISTS, source, "item", of="bundle")
    generator = np.random.default_rng(seed)
    tables = [_events(rows, BUNDLE, SAVE, part) for part, rows in enumerate(parts)]
    tables.append(_events(items, ITEM, READ, 0))
    events = pa.concat_tables(tables)
    events = events.take(pa.array(generator.permutation(events.num_rows)))
    n = np.arange(events.num_rows)
    part = events.column("part").to_numpy()
    events = events.drop(["part"]).append_column(
        "timestamp", pa.array((part * PART_SECONDS + _places(events, part)) * SECOND)
    )
    manifest = Manifest(
        name="youshu",
        source=HOMEPAGE,
        time="ordinal",
        tie_order=f"drawn with seed {seed}",
        notes={"part_seconds": PART_SECONDS, "parts": list(PARTS)},
    )
    events = events.append_column("ordinal", pa.array(n))
    return write_event_log(
        out, manifest, events, _catalogue(parts, items, lists), overwrite=overwrite
    )


def _read(file: SourceFile, source: str | Path | None, other: str, of: str = "user") -> pa.Table:
    """Reads the pairs of a file."""
    path = obtain(file, source)
    report = RowReport(path.name)
    columns = {of: pa.string(), other: pa.string()}
    rows = pa.concat_tables(read_delimited(path, columns, "\t", report))
    report.require(max_fraction=0.0)
    return rows


def _events(rows: pa.Table, entity_type: str, event: str, part: int) -> pa.Table:
    n = rows.num_rows
    return pa.table(
        {
            "user_id": rows.column("user"),
            "entity_type": constant(entity_type, n),
            "entity_id": rows.column(entity_type),
            "event": constant(event, n),
            "part": pa.array(np.full(n, part, np.int64)),
        }
    )


def _places(events: pa.Table, part: np.ndarray) -> np.ndarray:
    """Returns each event's place among those of its user and part, in the order of the rows."""
    user = events.column("user_id").combine_chunks().dictionary_encode().indices.to_numpy()
    group = user.astype(np.int64) * len(PARTS) + part
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    places = np.empty_like(group)
    places[order] = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    return places


def _catalogue(parts: list[pa.Table], items: pa.Table, lists: pa.Table) -> pa.Table:
    """Returns all bundles, with the items that they list, and all items."""
    bundles = _distinct([lists, *parts], "bundle")
    books = _distinct([items, lists], "item")
    of = pc.index_in(lists.column("bundle"), bundles).to_numpy()
    shown = lists.column("item").take(pa.array(np.argsort(of, kind="stable"))).combine_chunks()
    ends = np.cumsum(np.bincount(of, minlength=len(bundles)))
    offsets = np.concatenate([[0], ends, np.full(len(books), ends[-1])])  # items show nothing
    named = pc.binary_join_element_wise(ITEM, shown, ":")
    related = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), named)
    types = [constant(BUNDLE, len(bundles)), constant(ITEM, len(books))]
    return pa.table(
        {
            "entity_type": pa.concat_arrays(types),
            "entity_id": pa.concat_arrays([bundles, books]),
            "related_ids": related,
        }
    )


def _distinct(tables: list[pa.Table], column: str) -> pa.Array:
    chunks = [chunk for table in tables for chunk in table.column(column).chunks]
    return pc.unique(pa.chunked_array(chunks))
