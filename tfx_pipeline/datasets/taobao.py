"""Taobao's UserBehavior: page views, carts, favourites and purchases with times."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfx_pipeline.datasets.delimited import RowReport
from tfx_pipeline.datasets.delimited import read_delimited
from tfx_pipeline.datasets.download import SourceFile
from tfx_pipeline.datasets.download import obtain
from tfx_pipeline.datasets.event_log_writer import EventLogWriter
from tfx_pipeline.datasets.first_rows import FirstRows
from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.sequences import SECOND
from tfx_pipeline.datasets.sequences import constant
from transforms.arrow import pa
from transforms.arrow import pc

BEHAVIOUR = SourceFile("taobao/UserBehavior.csv.gz", "https://tianchi.aliyun.com/dataset/649")
ITEM = "item"
EVENTS = ("pv", "fav", "cart", "buy")
# The log says that it covers 25 November to 3 December 2017, China time.
_FIRST_SECOND = 1_511_539_200
_END_SECOND = 1_512_316_800
_COLUMNS = {
    "user": pa.string(),
    "item": pa.string(),
    "category": pa.string(),
    "event": pa.string(),
    "seconds": pa.int64(),
}


def prepare_taobao(
    out: str | Path, source: str | Path | None = None, overwrite: bool = False
) -> Manifest:
    """Turns UserBehavior into an event log, whatever its size, in one pass.

    Rows that are cut off, of an unknown event, or outside the log's nine days
    are left out; the manifest's notes count them and show a few.

    Args:
        out: Directory of the event log to make.
        source: `UserBehavior.csv`, also gzipped, or its directory. By default
            it is looked up.
        overwrite: Whether an event log at `out` may be replaced.

    Returns:
        The manifest as written.

    Raises:
        FileExistsError: If `out` may not be replaced.
        FileNotFoundError: If the file is not at hand.
        ValueError: If the file is not what it should be; more than 1 % of its
            rows cannot be used.
    """
    path = Path(source) if source and Path(source).is_file() else obtain(BEHAVIOUR, source)
    report = RowReport(path.name)
    manifest = Manifest(
        name="taobao", source=BEHAVIOUR.homepage, tie_order="row of UserBehavior.csv"
    )
    items, first = FirstRows("item"), 0
    with EventLogWriter(out, manifest, overwrite) as writer:
        for rows in read_delimited(path, _COLUMNS, ",", report):
            rows = _usable(rows, report)
            items.add(rows.select(["item", "category"]))
            writer.write_events(_events(rows, first))
            first += rows.num_rows
        report.require(max_fraction=0.01)
        writer.write_catalogue(_catalogue(items.table()))
        writer.manifest = manifest.model_copy(update={"notes": report.notes()})
    return writer.manifest


def _usable(rows: pa.Table, report: RowReport) -> pa.Table:
    """Leaves out rows of unknown events and of impossible times."""
    seconds = rows.column("seconds")
    in_days = pc.and_(pc.greater_equal(seconds, _FIRST_SECOND), pc.less(seconds, _END_SECOND))
    known = pc.is_in(rows.column("event"), pa.array(EVENTS))
    for reason, good in (
        ("unknown event", known),
        ("time outside the log's nine days", pc.or_(in_days, pc.invert(known))),
    ):
        bad = rows.filter(pc.invert(good))
        samples = [str(row) for row in bad.slice(0, 5).to_pylist()]
        report.leave_out(reason, bad.num_rows, samples)
        report.kept -= bad.num_rows
    return rows.filter(pc.and_(known, in_days))


def _events(rows: pa.Table, first: int) -> pa.Table:
    n = rows.num_rows
    return pa.table(
        {
            "user_id": rows.column("user"),
            "entity_type": constant(ITEM, n),
            "entity_id": rows.column("item"),
            "event": rows.column("event"),
            "timestamp": pc.multiply(rows.column("seconds"), SECOND),
            "ordinal": pa.array(np.arange(first, first + n)),
        }
    )


def _catalogue(items: pa.Table) -> pa.Table:
    """Returns catalogue rows of items with the category that each had first."""
    n = items.num_rows
    categories = items.column("category").combine_chunks()
    return pa.table(
        {
            "entity_type": constant(ITEM, n),
            "entity_id": items.column("item"),
            "categories": pa.ListArray.from_arrays(
                pa.array(np.arange(n + 1, dtype=np.int32)), categories
            ),
        }
    )
