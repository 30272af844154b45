"""The first step: rows are read, judged and divided among buckets of users."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import apache_beam as beam
import numpy as np

from tfx_pipeline.components.timeline_example_gen import messages
from tfx_pipeline.components.timeline_example_gen.messages import Store
from tfx_pipeline.datasets.columns import Batch
from tfx_pipeline.datasets.columns import as_ragged
from tfx_pipeline.datasets.dead_letter import dead_letters
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.file_parts import FilePart
from tfx_pipeline.datasets.file_parts import batches
from tfx_pipeline.datasets.judge import COLUMNS
from tfx_pipeline.datasets.judge import judge
from tfx_pipeline.datasets.limits import Limits
from tfx_pipeline.datasets.row_hash import hash_ids
from transforms.arrow import pa
from transforms.arrow import pc


class Partition(beam.DoFn):
    """Reads parts of the events or of the users and sends each row to its user's bucket."""

    def __init__(self, limits_json: str, buckets: int, store: Store) -> None:
        """Takes the limits of rows as JSON, the number of buckets, and the temporary storage."""
        self._limits_json = limits_json
        self._buckets = buckets
        self._store = store

    def setup(self) -> None:
        """Parses the limits once a worker."""
        self._limits = Limits.model_validate_json(self._limits_json)

    def process(self, element: FilePart) -> Iterator[tuple[int, messages.Message]]:
        """Yields (bucket, message) pairs."""
        file_part = FilePart(*element)
        read, kind = (
            (read_events, messages.EVENTS)
            if file_part.table == EVENTS_TABLE
            else (read_users, messages.USERS)
        )
        bad: list[np.ndarray] = []
        why: list[str] = []
        repaired: Counter[str] = Counter()
        for first, batch in batches(file_part, COLUMNS[file_part.table]):
            found = judge(batch, self._limits)
            rows = read(batch, file_part.first_row + first).filter(pa.array(found.good))
            bad.append(first + found.rejected)
            why += found.reasons()
            repaired.update(found.repaired())
            parts = [(bucket, messages.pack(part)) for bucket, part in split(rows, self._buckets)]
            addresses = self._store.put([data for _, data in parts])
            for (bucket, _), address in zip(parts, addresses, strict=True):
                yield bucket, (file_part.first_row + first, kind, address)
        some_bucket = file_part.number % self._buckets
        if why:
            letters = dead_letters(file_part, np.concatenate(bad), why)
            (address,) = self._store.put([messages.pack(letters)])
            yield some_bucket, (file_part.first_row, messages.DEAD, address)
        if repaired:
            counts = pa.table({"reason": list(repaired), "count": list(repaired.values())})
            (address,) = self._store.put([messages.pack(counts)])
            yield some_bucket, (file_part.first_row, messages.REPAIRED, address)


def read_events(batch: Batch, first_row: int) -> pa.Table:
    """Returns events in the form in which they travel, those that were rejected among them.

    Args:
        batch: Rows of the events table.
        first_row: Number of its first row in the log.

    Returns:
        Columns `user`, `entity` (`type:id`), `event` (binary), `timestamp`, `ordinal`, `row`
        (int64) and, unless all null, `page`, `query` (binary), `position` (int32; -1 for null)
        and `value` (float32).
    """
    columns = {
        "user": batch.column("user_id"),
        "entity": batch.names(),
        "event": batch.column("event"),
        "timestamp": batch.column("timestamp"),
        "ordinal": batch.column("ordinal"),
        "row": pa.array(np.arange(first_row, first_row + len(batch))),
    }
    for name, short in (("page_id", "page"), ("query", "query")):
        if (text := batch.given(name)) is not None:
            columns[short] = text
    if (position := batch.given("position")) is not None:
        columns["position"] = pc.max_element_wise(position, -1).cast(pa.int32())
    if (value := batch.given("value")) is not None:
        columns["value"] = pc.if_else(pc.is_finite(value), value, 0.0).fill_null(0.0)
    return pa.table(columns)


def read_users(batch: Batch, first_row: int) -> pa.Table:
    """Returns users as `user` (binary), `attributes` (lists of `key=value`) and `row`."""
    values, offsets = as_ragged(batch.column("attributes"))
    values = values.cast(pa.binary())  # a column that is all null has another type
    lists = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)
    row = pa.array(np.arange(first_row, first_row + len(batch)))
    return pa.table({"user": batch.column("user_id"), "attributes": lists, "row": row})


def split(rows: pa.Table, buckets: int, by: str = "user") -> Iterator[tuple[int, pa.Table]]:
    """Divides rows by a hash of a column of binary, keeping their order in each bucket."""
    if not rows.num_rows:
        return
    users = pa.concat_arrays(rows.column(by).chunks).dictionary_encode()
    of_user = (hash_ids(users.dictionary) % np.uint64(buckets)).astype(np.int16)
    bucket = of_user[np.asarray(users.indices)]
    order = np.argsort(bucket, kind="stable")  # a radix sort, for 16 bits
    ends = np.searchsorted(bucket[order], np.arange(buckets + 1))
    ordered = rows.take(pa.array(order))
    for number in np.flatnonzero(np.diff(ends)).tolist():
        yield number, ordered.slice(ends[number], ends[number + 1] - ends[number])
