"""What is embedded: every user's timeline up to the newest event, and rows of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import numpy as np

from serving.index.config import EVERY
from serving.index.embedding.tables import EXAMPLE
from tfx_pipeline.components.timeline_example_gen import messages
from tfx_pipeline.components.timeline_example_gen import report
from tfx_pipeline.components.timeline_example_gen import splits
from tfx_pipeline.components.timeline_example_gen.buckets import REPORT
from tfx_pipeline.components.timeline_example_gen.buckets import BucketFn
from tfx_pipeline.components.timeline_example_gen.buckets import Sorted
from tfx_pipeline.components.timeline_example_gen.catalogue_split import CatalogueFn
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.examples import request_features
from tfx_pipeline.components.timeline_example_gen.examples import shared_streams
from tfx_pipeline.components.timeline_example_gen.messages import Message
from tfx_pipeline.components.timeline_example_gen.messages import Store
from tfx_pipeline.components.timeline_example_gen.partition import split
from tfx_pipeline.components.timeline_example_gen.timeline import Timelines
from tfx_pipeline.datasets.row_hash import hash_ids
from tfx_pipeline.examples.encode import encode_examples
from tfx_pipeline.export.files import FINGERPRINT
from tfx_pipeline.export.files import ITEMS
from tfx_pipeline.export.files import Table
from transforms.arrow import pa
from transforms.arrow import pc
from transforms.arrow import read_table

Rows = tuple[int, bytes]  # part of the export, and what `Store.get` returns its rows for

_KEY = "key"
# How a log is divided says nothing about whole timelines.
_DIVISION = {
    "split", "validation_start", "test_start", "validation_days", "test_days",
    "validation_share", "test_share", "label",
}  # fmt: skip


def whole_timelines(config: TimelineConfig) -> TimelineConfig:
    """Returns a configuration whose timelines are not divided."""
    return TimelineConfig(**config.model_dump(exclude=_DIVISION))


class UserRows(BucketFn):
    """Makes rows of a sorted bucket: each user's request at the time of the newest event.

    Of a user with impressions alone it is the time of the newest of these. So a row depends on
    nothing but the user's own events and attributes.

    Args:
        store: Keeps the rows.
    """

    def __init__(self, *args: Any, store: Store) -> None:
        super().__init__(*args)
        self._store = store

    def process(self, element: Sorted) -> Iterator[Rows]:
        """Yields `user_id`, `timestamp`, `fingerprint` and `example` of a bucket's users."""
        number, rows, users = element
        if not rows:
            return
        timelines = Timelines.from_bytes(Store.get(rows), Store.get(users))
        events = splits.select_events(timelines, timelines.shown, self._config)
        user = np.arange(len(timelines.users))
        end = events.offsets[1:]
        start = np.maximum(events.offsets[:-1], end - self._config.max_events_per_example)
        newest = np.searchsorted(timelines.user, user, side="right") - 1
        some = end > start
        newest[some] = events.row[end[some] - 1]
        time = timelines.timestamp[newest]
        request = time, np.full(len(user), -1, np.int32)
        streams = shared_streams(timelines, events)
        features = request_features(timelines, streams, user, (start, end), request)
        made = {"user_id": timelines.users.cast(pa.string()), "timestamp": pa.array(time)}
        table = with_fingerprint(made, encode_examples(features))
        (address,) = self._store.put([messages.pack(table)])
        yield number, address


class ItemRows(CatalogueFn):
    """Makes rows of a part of the catalogue.

    Args:
        candidate_types: Entity types that are embedded; ["*"] is every type.
        parts: Parts of the export.
        store: Keeps the rows.
    """

    def __init__(
        self, *args: Any, candidate_types: Sequence[str], parts: int, store: Store
    ) -> None:
        super().__init__(*args)
        self._types = tuple(candidate_types)
        self._parts = parts
        self._store = store

    def process(
        self, element: tuple[int, Iterable[Message]], index: bytes
    ) -> Iterator[Rows | beam.pvalue.TaggedOutput]:
        """Yields `entity_type`, `entity_id`, `fingerprint` and `example`; counts beside them."""
        rows, counts = self.read(*element, index)
        if EVERY not in self._types:
            wanted = pa.array([name.encode() for name in self._types], pa.binary())
            rows = rows.filter(pc.is_in(rows["entity_type"], wanted))
        made = {name: rows[name].cast(pa.string()) for name in ITEMS.keys}
        table = with_fingerprint(made, rows[EXAMPLE].combine_chunks())
        yield from deal(table, ITEMS, self._parts, self._store)
        yield beam.pvalue.TaggedOutput(REPORT, report.pack(counts))


class EarlierRows(beam.DoFn):
    """Reads files of an earlier export, and divides their rows as those of this one are.

    Args:
        table: Which.
        parts: Parts of this export.
        store: Keeps the rows.
    """

    def __init__(self, table: Table, parts: int, store: Store) -> None:
        self._table = table
        self._parts = parts
        self._store = store

    def process(self, file: str) -> Iterator[Rows]:
        """Yields the rows of a file."""
        yield from deal(read_table(file), self._table, self._parts, self._store)


def with_fingerprint(columns: dict[str, pa.Array], examples: pa.Array) -> pa.Table:
    """Adds examples, and a hash of each: all that an embedding depends on besides the model."""
    if isinstance(examples, pa.ChunkedArray):  # of no chunks
        examples = pa.array([], pa.large_binary())
    hashes = pa.array(hash_ids(examples).view(np.int64))
    return pa.table({**columns, FINGERPRINT: hashes, EXAMPLE: examples})


def deal(rows: pa.Table, table: Table, parts: int, store: Store) -> Iterator[Rows]:
    """Divides rows among parts by a hash of their key."""
    keyed = rows.append_column(_KEY, table.key(rows))
    dealt = [(part, some.drop([_KEY])) for part, some in split(keyed, parts, _KEY)]
    addresses = store.put([messages.pack(some) for _, some in dealt])
    for (part, _), address in zip(dealt, addresses, strict=True):
        yield part, address
