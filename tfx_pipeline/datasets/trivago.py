"""trivago's hotel search (RecSys Challenge 2019): result lists with what was clicked on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tfx_pipeline.datasets.delimited import RowReport
from tfx_pipeline.datasets.download import SourceFile
from tfx_pipeline.datasets.download import obtain
from tfx_pipeline.datasets.event_log_writer import EventLogWriter
from tfx_pipeline.datasets.first_rows import FirstRows
from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.schemas import IMPRESSION
from tfx_pipeline.datasets.sequences import SECOND
from tfx_pipeline.datasets.sequences import constant
from transforms.arrow import pa
from transforms.arrow import pc
from transforms.arrow import pq

SAMPLE = SourceFile(
    "trivago/validation_100k.snappy.parquet", "https://recsys.trivago.cloud/challenge/dataset/"
)
ITEM = "hotel"
_CLICKOUT = "clickout item"
EVENTS = {
    _CLICKOUT: "clickout",
    "interaction item image": "image",
    "interaction item rating": "rating",
    "interaction item info": "info",
    "interaction item deals": "deals",
    "search for item": "search",
}
ELSE = (
    "search for destination",
    "search for poi",
    "filter selection",
    "change of sort order",
)  # actions about no hotel
_COLUMNS = (
    *("user_id", "session_id", "timestamp", "action_type", "reference", "platform", "city"),
    *("device", "current_filters", "impressions", "prices"),
)
_BLOCK = 16_384  # rows
_MOST = 63  # impressions of a list; the rows of an event log that a source row becomes, less one


def prepare_trivago(
    out: str | Path, source: str | Path | None = None, overwrite: bool = False
) -> Manifest:
    """Turns the log of hotel searches into an event log with result pages.

    A click-out's row becomes a page: an impression for each hotel of its list, with the
    price there as `value` and the filters that were set as `query`, and the click after
    them. As in the challenge each click-out is a page of its own, also where
    the same list was clicked twice. Views of a hotel's pictures, ratings, deals and facts
    and searches for one are events. Searches for places, filters and sorting are about no
    hotel; the manifest's notes count them, and rows that cannot be used.

    Hotels have the city and the price that they were first shown with, users the
    platform and device of their first row.

    Args:
        out: Directory of the event log to make.
        source: The Parquet file or its directory. By default it is looked up.
        overwrite: Whether an event log at `out` may be replaced.

    Returns:
        The manifest as written.

    Raises:
        FileExistsError: If `out` may not be replaced.
        FileNotFoundError: If the file is not at hand.
        ValueError: If the file is not what it should be; more than 1 % of its
            rows cannot be used.
    """
    path = Path(source) if source and Path(source).is_file() else obtain(SAMPLE, source)
    report = RowReport(path.name)
    manifest = Manifest(name="trivago", source=SAMPLE.homepage, tie_order="row of the file")
    hotels, touched, users = FirstRows("item"), FirstRows("item"), FirstRows("user_id")
    elsewhere = dict.fromkeys(ELSE, 0)
    with EventLogWriter(out, manifest, overwrite) as writer:
        for rows in _read(path):
            rows = _usable(rows, report)
            for action in ELSE:
                elsewhere[action] += pc.sum(pc.equal(rows["action_type"], action)).as_py() or 0
            users.add(rows.select(["user_id", "platform", "device"]))
            rows = rows.filter(pc.is_in(rows["action_type"], pa.array(list(EVENTS))))
            shown = _impressions(rows.filter(pc.equal(rows["action_type"], _CLICKOUT)))
            hotels.add(shown.select(["item", "city", "price"]))
            touched.add(_touched(rows))
            writer.write_events(_shown_events(shown))
            writer.write_events(_done_events(rows))
        report.require(max_fraction=0.01)
        hotels.add(touched.table())  # after all that were shown, which alone have prices
        writer.write_catalogue(_catalogue(hotels.table()))
        writer.write_users(_users(users.table()))
        notes = {"rows_about_no_hotel": elsewhere, **report.notes()}
        writer.manifest = manifest.model_copy(update={"notes": notes})
    return writer.manifest


def _read(path: Path) -> Iterator[pa.Table]:
    """Yields blocks of the file's rows with their number, `row`.

    Raises:
        ValueError: It is no Parquet file, or lacks a column.
    """
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"`{path}` should be a Parquet file: {error}") from error
    absent = sorted(set(_COLUMNS) - set(file.schema_arrow.names))
    if absent:
        raise ValueError(f"`{path}` has no column {absent}; expected {list(_COLUMNS)}.")
    first = 0
    for batch in file.iter_batches(_BLOCK, columns=list(_COLUMNS), use_threads=False):
        table = pa.Table.from_batches([batch])
        row = pa.array(np.arange(first, first + table.num_rows))
        first += table.num_rows
        yield table.append_column("row", row)


def _usable(rows: pa.Table, report: RowReport) -> pa.Table:
    """Leaves out rows of unknown actions, of no hotel's number, and of damaged lists."""
    action = rows["action_type"]
    about_hotel = pc.is_in(action, pa.array(list(EVENTS)))
    bars = [pc.count_substring(rows[name], "|") for name in ("impressions", "prices")]
    whole = pc.and_(pc.equal(*bars), pc.less(bars[0], _MOST))
    for name, pattern in (("impressions", "[0-9]+"), ("prices", r"[0-9]+(\.[0-9]+)?")):
        listed = pc.match_substring_regex(rows[name], rf"^{pattern}(\|{pattern})*$")
        whole = pc.and_(whole, listed)
    number = pc.match_substring_regex(rows["reference"], "^[0-9]+$")
    rules = {
        "no user or no time": pc.and_(rows["user_id"].is_valid(), rows["timestamp"].is_valid()),
        "unknown action": pc.or_(about_hotel, pc.is_in(action, pa.array(ELSE))),
        "`reference` is no hotel's number": pc.or_kleene(pc.invert(about_hotel), number),
        "no list of hotels with a price each": pc.or_kleene(pc.not_equal(action, _CLICKOUT), whole),
    }
    kept = pa.array(np.ones(rows.num_rows, bool))
    for reason, good in rules.items():
        good = pc.fill_null(good, False)
        bad = rows.filter(pc.and_not(kept, good))
        report.leave_out(reason, bad.num_rows, [str(row) for row in bad.slice(0, 5).to_pylist()])
        kept = pc.and_(kept, good)
    rows = rows.filter(kept)
    report.kept += rows.num_rows
    return rows


def _impressions(clicks: pa.Table) -> pa.Table:
    """Returns one row an impression: the click-out's columns, `item`, `price` and `position`."""
    lists, prices = (
        pc.split_pattern(clicks[name].combine_chunks(), "|") for name in ("impressions", "prices")
    )
    length = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    row = np.repeat(np.arange(len(length)), length)
    position = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
    shown = clicks.drop(["impressions", "prices", "reference"]).take(pa.array(row))
    return (
        shown.append_column("item", lists.flatten())
        .append_column("price", prices.flatten().cast(pa.float32()))
        .append_column("position", pa.array(position.astype(np.int32)))
    )


def _shown_events(shown: pa.Table) -> pa.Table:
    n = shown.num_rows
    ordinal = pc.add(pc.multiply(shown["row"], _MOST + 1), shown["position"].cast(pa.int64()))
    return pa.table(
        {
            **_common(shown, ordinal),
            "entity_id": shown["item"],
            "event": constant(IMPRESSION, n),
            "page_id": shown["row"].cast(pa.string()),
            "position": shown["position"],
            "value": shown["price"],
        }
    )


def _done_events(rows: pa.Table) -> pa.Table:
    """Returns the events of what was done; a click comes after its page's impressions."""
    names = pc.index_in(rows["action_type"], pa.array(list(EVENTS)))
    is_click = pc.equal(rows["action_type"], _CLICKOUT)
    page = pc.if_else(is_click, rows["row"].cast(pa.string()), pa.scalar(None, pa.string()))
    ordinal = pc.add(pc.multiply(rows["row"], _MOST + 1), _MOST)
    return pa.table(
        {
            **_common(rows, ordinal),
            "entity_id": rows["reference"],
            "event": pa.array(list(EVENTS.values())).take(names.combine_chunks()),
            "page_id": page,
        }
    )


def _common(rows: pa.Table, ordinal: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """Returns the columns that impressions and other events share."""
    return {
        "user_id": rows["user_id"],
        "entity_type": constant(ITEM, rows.num_rows),
        "timestamp": pc.multiply(rows["timestamp"], SECOND),
        "ordinal": ordinal,
        "session_id": rows["session_id"],
        "query": pc.replace_substring(rows["current_filters"], "|", ", "),
    }


def _touched(rows: pa.Table) -> pa.Table:
    """Returns the hotels of events, for those that no list showed."""
    return pa.table(
        {
            "item": rows["reference"],
            "city": rows["city"],
            "price": pa.nulls(rows.num_rows, pa.float32()),
        }
    )


def _catalogue(hotels: pa.Table) -> pa.Table:
    n = hotels.num_rows
    return pa.table(
        {
            "entity_type": constant(ITEM, n),
            "entity_id": hotels["item"],
            "attributes": _attributes(hotels, ("city",)),
            "price": hotels["price"],
        }
    )


def _users(users: pa.Table) -> pa.Table:
    attributes = _attributes(users, ("platform", "device"))
    return pa.table({"user_id": users["user_id"], "attributes": attributes})


def _attributes(rows: pa.Table, names: tuple[str, ...]) -> pa.Array:
    """Returns [n] list of `name=value`; a null value is written as such."""
    columns = [
        pc.binary_join_element_wise(
            f"{name}=", rows[name].combine_chunks(), "", null_handling="replace"
        )
        for name in names
    ]
    flat = np.stack([column.to_numpy(zero_copy_only=False) for column in columns], axis=1)
    offsets = np.arange(rows.num_rows + 1, dtype=np.int32) * len(names)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat.reshape(-1), pa.string()))
