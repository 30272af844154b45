"""Youshu: readers of a book shop, the book lists that they save, and the books in these.

Liang Chen et al. 2019. Matching User with Item Set: Collaborative Bundle Recommendation with
Deep Attention Network. IJCAI.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfx_pipeline.datasets.download import SourceFile
from tfx_pipeline.datasets.event_log_writer import write_event_log
from tfx_pipeline.datasets.given_parts import PART_SECONDS
from tfx_pipeline.datasets.given_parts import distinct
from tfx_pipeline.datasets.given_parts import events_of
from tfx_pipeline.datasets.given_parts import in_order
from tfx_pipeline.datasets.given_parts import read_pairs
from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.sequences import constant
from transforms.arrow import pa
from transforms.arrow import pc

HOMEPAGE = "https://github.com/yliuSYSU/DAM"
BUNDLE, ITEM = "bundle", "item"
SAVE, READ = "save", "read"
PARTS = ("train", "tune", "test")  # of the given split of users and bundles
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
    parts = [read_pairs(_BUNDLES[part], source, _pairs("user", BUNDLE)) for part in PARTS]
    items = read_pairs(_ITEMS, source, _pairs("user", ITEM))
    lists = read_pairs(_LISTS, source, _pairs(BUNDLE, ITEM))
    tables = [events_of(rows, BUNDLE, BUNDLE, SAVE, part) for part, rows in enumerate(parts)]
    tables.append(events_of(items, ITEM, ITEM, READ, 0))
    events = in_order(pa.concat_tables(tables), len(PARTS), seed)
    manifest = Manifest(
        name="youshu",
        source=HOMEPAGE,
        time="ordinal",
        tie_order=f"drawn with seed {seed}",
        notes={"part_seconds": PART_SECONDS, "parts": list(PARTS)},
    )
    catalogue = _catalogue(parts, items, lists)
    return write_event_log(out, manifest, events, catalogue, overwrite=overwrite)


def _pairs(left: str, right: str) -> dict[str, pa.DataType]:
    return {left: pa.string(), right: pa.string()}


def _catalogue(parts: list[pa.Table], items: pa.Table, lists: pa.Table) -> pa.Table:
    """Returns all bundles, with the items that they list, and all items."""
    bundles = distinct([lists, *parts], "bundle")
    books = distinct([items, lists], "item")
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
