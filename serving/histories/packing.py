"""Histories as bytes: ids and not codes, so that every version of every model may read them."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serving.client.calls import encode
from serving.client.calls import microseconds
from serving.client.catalogue_rows import finite_floats
from serving.client.types import Event

_FORMAT = b"\x01"
_HEADER = struct.Struct("<II")  # events, bytes of the texts
_COLUMNS = (("<u4", "id"), ("<u2", "event"), ("<u4", "query"), ("<i8", "time"), ("<f4", "value"))


class Column(NamedTuple):
    """Texts of events: the distinct ones, and the position of each event's among them."""

    distinct: Sequence[str]
    places: npt.NDArray[np.integer]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Column:
        """Numbers texts in the order of their first event."""
        place: dict[str, int] = {}
        places = [place.setdefault(text, len(place)) for text in texts]
        encode(list(place))  # raises where one is no text
        return cls(list(place), np.array(places, np.int64))


def pack(history: Sequence[Event]) -> bytes:
    """Returns a history as bytes.

    Args:
        history: What a user did, oldest first.

    Raises:
        ValueError: An event has a text that is none, or a number that does not fit.
    """
    try:
        columns = (
            [event.id for event in history],
            [event.event for event in history],
            [event.query for event in history],
        )
        times = microseconds([event.timestamp for event in history], "timestamp")
        values = finite_floats([event.value for event in history], "value")
        return pack_columns([Column.of(column) for column in columns], times, values)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"Expected a history of `Event`s that can be kept: {error}.") from error


def pack_columns(
    texts: Sequence[Column], times: npt.NDArray[np.int64], values: npt.NDArray[np.float32]
) -> bytes:
    """Returns the columns of a history's N events as bytes.

    Args:
        texts: Entities, `type:id`; types of events, at most 65,536 distinct ones; and queries
            that led to events, "" for none.
        times: [N] microseconds, ascending.
        values: [N].
    """
    columns = (*(text.places for text in texts), np.diff(times, prepend=0), values)
    distinct = [list(text.distinct) for text in texts]
    encoded = json.dumps(distinct, ensure_ascii=False, separators=(",", ":")).encode()
    packed = [
        np.ascontiguousarray(column, kind).tobytes()
        for column, (kind, _) in zip(columns, _COLUMNS, strict=True)
    ]
    header = _HEADER.pack(len(times), len(encoded))
    return _FORMAT + zlib.compress(b"".join([header, encoded, *packed]))


def unpack(data: bytes) -> list[Event]:
    """Returns the history that `pack` made into bytes.

    Raises:
        ValueError: It is none.
    """
    try:
        if data[:1] != _FORMAT:
            raise ValueError(f"its format is {data[:1]!r}")
        content = zlib.decompress(data[1:])
        number, size = _HEADER.unpack_from(content)
        start = _HEADER.size + size
        ids, events, queries = json.loads(content[_HEADER.size : start])
        columns = {}
        for kind, name in _COLUMNS:
            columns[name] = np.frombuffer(content, kind, number, start)
            start += columns[name].nbytes
        return list(
            map(
                Event,
                map(ids.__getitem__, columns["id"].tolist()),
                map(events.__getitem__, columns["event"].tolist()),
                np.cumsum(columns["time"]).tolist(),
                columns["value"].tolist(),
                map(queries.__getitem__, columns["query"].tolist()),
            )
        )
    except (ValueError, IndexError, zlib.error, struct.error) as error:
        raise ValueError(
            f"Expected a history that `pack` wrote; {error}. Write it again."
        ) from error
