"""The first stage: rows are read, checked and divided among buckets of users."""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam
import numpy as np

from tfx_pipeline.components.timeline_example_gen import messages
from tfx_pipeline.components.timeline_example_gen.columns import as_ragged
from tfx_pipeline.components.timeline_example_gen.columns import batches
from tfx_pipeline.components.timeline_example_gen.columns import invalid_utf8
from tfx_pipeline.components.timeline_example_gen.columns import optional
from tfx_pipeline.components.timeline_example_gen.columns import required
from tfx_pipeline.components.timeline_example_gen.columns import times
from tfx_pipeline.components.timeline_example_gen.config import ANY
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.dead_letter import Reasons
from tfx_pipeline.components.timeline_example_gen.dead_letter import dead_letters
from tfx_pipeline.components.timeline_example_gen.hashing import hash_ids
from tfx_pipeline.components.timeline_example_gen.piece import Piece
from tfx_pipeline.components.timeline_example_gen.store import Store
from tfx_pipeline.datasets.event_log import EVENTS
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import IMPRESSION
from tfx_pipeline.datasets.event_log import USERS
from transforms.arrow import pa
from transforms.arrow import pc

_EVENT_COLUMNS = (
    "user_id",
    "entity_type",
    "entity_id",
    "event",
    "timestamp",
    "ordinal",
    "page_id",
    "position",
    "query",
    "value",
)
_COLON = pa.scalar(b":", pa.binary())


class Partition(beam.DoFn):
    """Reads pieces of the events or of the users and sends each row to its user's bucket."""

    def __init__(self, config_json: str, buckets: int, store: Store) -> None:
        """Takes the configuration as JSON, the number of buckets, and where rows wait."""
        self._config_json = config_json
        self._buckets = buckets
        self._store = store

    def setup(self) -> None:
        """Parses the configuration once a worker."""
        self._config = TimelineConfig.model_validate_json(self._config_json)

    def process(self, element: Piece) -> Iterator[tuple[int, messages.Message]]:
        """Yields (bucket, message) pairs."""
        piece = Piece(*element)
        read, kind = (
            (read_events, messages.EVENTS)
            if piece.table == EVENTS_TABLE
            else (read_users, messages.USERS)
        )
        bad: list[np.ndarray] = []
        why: list[str] = []
        for first, batch in batches(piece, _EVENT_COLUMNS + ("attributes",)):
            rows, reasons = read(batch, piece.first_row + first, self._config)
            bad.append(first + reasons.bad)
            why += reasons.of(reasons.bad)
            parts = [(bucket, messages.pack(part)) for bucket, part in split(rows, self._buckets)]
            places = self._store.put([data for _, data in parts])
            for (bucket, _), place in zip(parts, places, strict=True):
                yield bucket, (piece.first_row + first, kind, place)
        if why:
            letters = dead_letters(piece, np.concatenate(bad), why)
            (place,) = self._store.put([messages.pack(letters)])
            yield piece.number % self._buckets, (piece.first_row, messages.DEAD, place)


def read_events(
    batch: pa.RecordBatch, first_row: int, config: TimelineConfig
) -> tuple[pa.Table, Reasons]:
    """Checks a batch of events.

    Args:
        batch: Rows of the events table in whatever types they have.
        first_row: Number of its first row in the log.
        config: Says which events are acceptable.

    Returns:
        The good rows as `user`, `entity` (`type:id`), `event` (binary), `timestamp`,
        `ordinal`, `row` (int64) and, unless all null, `page`, `query` (binary),
        `position` (int32; -1 for null) and `value` (float32); and what is wrong with the rest.
    """
    reasons = Reasons(batch.num_rows)
    text = {
        name: _required_text(batch, EVENTS.field(name), reasons)
        for name in ("user_id", "entity_type", "entity_id", "event")
    }
    reasons.mark(_any(pc.match_substring(text["entity_type"], ":")), "entity_type has a colon")
    timestamp = _timestamps(batch, config, reasons)
    ordinal = required(batch, EVENTS.field("ordinal"))
    reasons.mark(np.asarray(ordinal.is_null()), "ordinal is missing")
    if ANY not in config.event_types:
        allowed = pc.is_in(text["event"], pa.array([e.encode() for e in config.event_types]))
        reasons.mark(~np.asarray(allowed), "event is of an unknown type")
    columns = {
        "user": text["user_id"],
        "entity": pc.binary_join_element_wise(text["entity_type"], text["entity_id"], _COLON),
        "event": text["event"],
        "timestamp": pa.array(timestamp),
        "ordinal": ordinal.fill_null(0),
        "row": pa.array(np.arange(first_row, first_row + batch.num_rows)),
        **_optional_text(batch, {"page_id": "page", "query": "query"}, reasons),
    }
    _require_pages(columns, reasons)
    if (position := optional(batch, EVENTS.field("position"))) is not None:
        columns["position"] = position.fill_null(-1)
    if (value := optional(batch, EVENTS.field("value"))) is not None:
        columns["value"] = pc.if_else(pc.is_finite(value), value, 0.0).fill_null(0.0)
    return _good(pa.table(columns), reasons), reasons


def read_users(
    batch: pa.RecordBatch, first_row: int, config: TimelineConfig
) -> tuple[pa.Table, Reasons]:
    """Checks a batch of users.

    Returns:
        The good rows as `user` (binary), `attributes` (lists of `key=value`) and
        `row`; and what is wrong with the rest.
    """
    del config
    reasons = Reasons(batch.num_rows)
    user = _required_text(batch, USERS.field("user_id"), reasons)
    attributes = optional(batch, USERS.field("attributes"))
    if attributes is None:
        lists = pa.array([[]] * batch.num_rows, pa.list_(pa.binary()))
    else:
        values, offsets = as_ragged(attributes)
        reasons.mark(rows_of(invalid_utf8(values), offsets), "attributes are not UTF-8")
        lists = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)
    row = pa.array(np.arange(first_row, first_row + batch.num_rows))
    table = pa.table({"user": user, "attributes": lists, "row": row})
    return _good(table, reasons), reasons


def split(rows: pa.Table, buckets: int) -> Iterator[tuple[int, pa.Table]]:
    """Divides rows by a hash of their `user`, keeping their order in each bucket."""
    if not rows.num_rows:
        return
    users = pa.concat_arrays(rows.column("user").chunks).dictionary_encode()
    of_user = (hash_ids(users.dictionary) % np.uint64(buckets)).astype(np.int16)
    bucket = of_user[np.asarray(users.indices)]
    order = np.argsort(bucket, kind="stable")  # a radix sort, for 16 bits
    ends = np.searchsorted(bucket[order], np.arange(buckets + 1))
    ordered = rows.take(pa.array(order))
    for number in np.flatnonzero(np.diff(ends)).tolist():
        yield number, ordered.slice(ends[number], ends[number + 1] - ends[number])


def rows_of(bad: np.ndarray | None, offsets: np.ndarray) -> np.ndarray | None:
    """Returns [n] bool, which rows of a ragged column hold a bad value."""
    if bad is None:
        return None
    before = np.concatenate([[0], np.cumsum(bad)])
    return before[offsets[1:]] > before[offsets[:-1]]


def _required_text(batch: pa.RecordBatch, field: pa.Field, reasons: Reasons) -> pa.BinaryArray:
    """Returns a column of ids; a null or empty one is a reason against its row."""
    array = required(batch, field)
    array = array.fill_null(b"") if array.null_count else array
    reasons.mark(_any(pc.equal(pc.binary_length(array), 0)), f"{field.name} is missing")
    reasons.mark(invalid_utf8(array), f"{field.name} is not UTF-8")
    return array


def _optional_text(
    batch: pa.RecordBatch, names: dict[str, str], reasons: Reasons
) -> dict[str, pa.Array]:
    columns = {}
    for name, short in names.items():
        if (array := optional(batch, EVENTS.field(name))) is not None:
            columns[short] = array
            reasons.mark(invalid_utf8(array), f"{name} is not UTF-8")
    return columns


def _timestamps(batch: pa.RecordBatch, config: TimelineConfig, reasons: Reasons) -> np.ndarray:
    found = times(batch, EVENTS.field("timestamp"))
    if found is None:
        reasons.mark(np.ones(batch.num_rows, bool), "timestamp is missing")
        return np.zeros(batch.num_rows, np.int64)
    reasons.mark(found.missing, "timestamp is missing")
    reasons.mark(found.unparsable, "timestamp is unparsable")
    outside = (found.values < config.earliest) | (found.values >= config.latest)
    reasons.mark(outside, "timestamp is out of range")
    return found.values


def _require_pages(columns: dict[str, pa.Array], reasons: Reasons) -> None:
    """An impression without a page cannot be told from its click."""
    shown = np.asarray(pc.equal(columns["event"], IMPRESSION.encode()))
    if not shown.any():
        return
    if "page" in columns:
        empty = pc.equal(pc.binary_length(columns["page"]), 0).fill_null(True)
        shown = shown & np.asarray(empty)
    reasons.mark(shown, "impression without page_id")


def _good(table: pa.Table, reasons: Reasons) -> pa.Table:
    bad = reasons.bad
    return table if not len(bad) else table.filter(pa.array(reasons.codes == 0))


def _any(mask: pa.BooleanArray) -> np.ndarray:
    return np.asarray(mask)
