"""The users of one bucket, each with their rows in order: sorted, without duplicates."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from tfx_pipeline.components.timeline_example_gen import messages
from tfx_pipeline.datasets.event_log import IMPRESSION
from tfx_pipeline.datasets.row_hash import hash_ids
from transforms.arrow import pa
from transforms.arrow import pc

_CODED = ("entity", "event", "query", "page")


@dataclasses.dataclass(frozen=True)
class Timelines:
    """Rows by user and time; a code points into the dictionary of its name.

    Users come in the order of their hashes, so neighbours have nothing in
    common, and rows in the order of (user, timestamp, ordinal, row in the log).

    Attributes:
        users: [U] binary, ids.
        attributes: [U] lists of binary `key=value`.
        user: [N] int32, the user of each row, ascending.
        timestamp: [N] int64, microseconds.
        codes: `entity`, `event`, `query` and `page`: [N] int32, -1 for null.
        dictionaries: The values behind the codes, binary.
        position: [N] int32, position on the page; -1 where the log has none.
        value: [N] float32, 0 where the log has none.
    """

    users: pa.Array
    attributes: pa.ListArray
    user: np.ndarray
    timestamp: np.ndarray
    codes: dict[str, np.ndarray]
    dictionaries: dict[str, pa.Array]
    position: np.ndarray
    value: np.ndarray

    @property
    def shown(self) -> np.ndarray:
        """[N] bool, which rows are impressions."""
        names = self.dictionaries["event"]
        code = pc.index(names, pa.scalar(IMPRESSION.encode(), names.type)).as_py()
        return self.codes["event"] == code if code >= 0 else np.zeros(len(self.user), bool)

    def to_bytes(self) -> tuple[bytes, bytes]:
        """Returns the rows and the users, as they travel to the step that writes."""
        columns: dict[str, pa.Array] = {
            name: pa.DictionaryArray.from_arrays(
                pa.array(self.codes[name], mask=self.codes[name] < 0), self.dictionaries[name]
            )
            for name in _CODED
        }
        for name in ("user", "timestamp", "position", "value"):
            columns[name] = pa.array(getattr(self, name))
        users = pa.table({"users": self.users, "attributes": self.attributes})
        return messages.pack(pa.table(columns)), messages.pack(users)

    @classmethod
    def from_bytes(cls, rows_data: bytes, users_data: bytes) -> Timelines:
        """Returns what `to_bytes` made into bytes."""
        rows, users = messages.unpack(rows_data), messages.unpack(users_data)
        coded = {name: _single(rows.column(name)) for name in _CODED}
        return cls(
            users=_single(users.column("users")),
            attributes=_single(users.column("attributes")),
            codes={name: _codes(array) for name, array in coded.items()},
            dictionaries={name: array.dictionary for name, array in coded.items()},
            **{
                name: np.asarray(_single(rows.column(name)))
                for name in ("user", "timestamp", "position", "value")
            },
        )


def build(events: pa.Table, users: pa.Table | None) -> tuple[Timelines, pa.Table]:
    """Sorts the rows of a bucket.

    Args:
        events: One row or more as `partition.read_events` returns them, in the log's order.
        users: Rows as `partition.read_users` returns them, one a user, or None.

    Returns:
        The timelines, and the events that were left out as duplicates.
    """
    ids, user = _users(_single(events.column("user")))
    timestamp = np.asarray(_single(events.column("timestamp")))
    ordinal = np.asarray(_single(events.column("ordinal")))
    order = np.lexsort((ordinal, timestamp, user))  # stable: ties keep the log's order
    codes, dictionaries = {}, {}
    for name in _CODED:
        encoded = _dictionary(events, name)
        codes[name], dictionaries[name] = _codes(encoded)[order], encoded.dictionary
    user, timestamp, ordinal = user[order], timestamp[order], ordinal[order]
    repeated = _duplicates(user, timestamp, ordinal, codes["entity"], codes["event"])
    kept = slice(None) if repeated is None else ~repeated
    timelines = Timelines(
        users=ids,
        attributes=_attributes(ids, users),
        user=user[kept],
        timestamp=timestamp[kept],
        codes={name: values[kept] for name, values in codes.items()},
        dictionaries=dictionaries,
        position=_numbers(events, "position", -1, np.int32)[order][kept],
        value=_numbers(events, "value", 0, np.float32)[order][kept],
    )
    dropped = order[:0] if repeated is None else order[repeated]
    return timelines, events.take(pa.array(dropped))


def first_of_each(ids: pa.ChunkedArray) -> np.ndarray:
    """Returns [n] bool, which values are the first of their kind."""
    _, first = np.unique(np.asarray(_single(ids).dictionary_encode().indices), return_index=True)
    is_first = np.zeros(len(ids), bool)
    is_first[first] = True
    return is_first


def _users(ids: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Returns the distinct users by their hashes, and the number of each row's user there."""
    encoded = ids.dictionary_encode()
    order = np.argsort(hash_ids(encoded.dictionary), kind="stable")
    number = np.empty(len(order), np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    return encoded.dictionary.take(pa.array(order)), number[np.asarray(encoded.indices)]


def _dictionary(events: pa.Table, name: str) -> pa.DictionaryArray:
    if name in events.column_names:
        return _single(events.column(name)).dictionary_encode()
    nothing = pa.nulls(events.num_rows, pa.int32())
    return pa.DictionaryArray.from_arrays(nothing, pa.array([], pa.binary()))


def _codes(encoded: pa.DictionaryArray) -> np.ndarray:
    """Returns [n] int32 codes, -1 for null."""
    return np.asarray(encoded.indices.fill_null(-1)).astype(np.int32, copy=False)


def _numbers(events: pa.Table, name: str, default: int, kind: type) -> np.ndarray:
    if name not in events.column_names:
        return np.full(events.num_rows, default, kind)
    return np.asarray(_single(events.column(name)).fill_null(default)).astype(kind, copy=False)


def _duplicates(*sorted_keys: np.ndarray) -> np.ndarray | None:
    """Returns [N] bool, which rows repeat an earlier one in all keys; None when none can.

    The rows are sorted by the first three keys, so only neighbours that agree
    in them need a closer look.
    """
    same = np.ones(len(sorted_keys[0]) - 1, bool)
    for key in sorted_keys[:3]:
        same &= key[1:] == key[:-1]
    if not same.any():
        return None
    tied = np.zeros(len(same) + 1, bool)
    tied[1:] |= same
    tied[:-1] |= same
    repeated = np.zeros(len(tied), bool)
    frame = pd.DataFrame({i: key[tied] for i, key in enumerate(sorted_keys)})
    repeated[tied] = frame.duplicated().to_numpy()
    return repeated if repeated.any() else None


def _attributes(ids: pa.Array, users: pa.Table | None) -> pa.ListArray:
    """Returns each user's attributes, none for a user who is not in the table."""
    if users is None:
        return pa.array([[]] * len(ids), pa.list_(pa.binary()))
    lists = _single(users.column("attributes")).take(
        pc.index_in(ids, _single(users.column("user")))
    )
    if lists.null_count:
        lists = pc.if_else(lists.is_valid(), lists, pa.scalar([], lists.type))
    return lists


def _single(column: pa.ChunkedArray) -> pa.Array:
    """Returns a column as one array."""
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
