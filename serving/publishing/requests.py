"""Raw examples as dense requests, as a shop would send them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tensorflow.core.example import example_pb2

from serving.client.ranking import number_queries
from transforms import features as f


def dense_inputs(
    signature: str, examples: Sequence[example_pb2.Example], longest: int | None = None
) -> dict[str, np.ndarray]:
    """Lays raw examples out as the inputs of a signature, without held-out features.

    Args:
        signature: `recommend`, or `rank`.
        examples: B timelines, or page examples.
        longest: Events of a history that are kept, the newest; all when None.

    Returns:
        By name, [B] or padded [B, ...]; no item is excluded, and no catalogue row is sent.
    """
    newest = slice(-longest if longest else None, None)
    ids, events, times, numbers = (
        [values_of(one, name)[newest] for one in examples]
        for name in (f.EVENT_ENTITY, f.EVENT_TYPE, f.EVENT_TIMESTAMP, f.EVENT_VALUE)
    )
    attributes = [values_of(one, f.USER_ATTRIBUTES) for one in examples]
    inputs = {
        "history_ids": _pad(ids, b""),
        "history_events": _pad(events, b""),
        "history_timestamps": _pad(times, 0),
        "history_length": _lengths(ids),
        "request_time": _first(examples, f.REQUEST_TIME, 0),
        "query": _first(examples, f.REQUEST_QUERY, b""),
        "user_attributes": _pad(attributes, b""),
        "user_attributes_length": _lengths(attributes),
    }
    if signature == "recommend":
        nothing: list[list[bytes]] = [[] for _ in examples]
        return inputs | {"exclude_ids": _pad(nothing, b""), "exclude_length": _lengths(nothing)}
    candidates = [values_of(one, f.CANDIDATE_ENTITY) for one in examples]
    queries, index = number_queries(
        values_of(one, f.EVENT_QUERY)[newest] or [b""] * len(row)
        for one, row in zip(examples, ids, strict=True)
    )
    return inputs | {
        "history_values": _pad(numbers, 0.0),
        "history_queries": _pad(queries, b""),
        "history_query_index": _pad(index, 0).astype(np.int32),
        "candidate_ids": _pad(candidates, b""),
        "candidate_length": _lengths(candidates),
        "candidate_rows": _pad([[b""] * len(row) for row in candidates], b""),
    }


def values_of(example: example_pb2.Example, name: str) -> list[Any]:
    """Returns the values of a feature; none if it is missing."""
    feature = example.features.feature.get(name)
    kind = feature.WhichOneof("kind") if feature is not None else None
    return list(getattr(feature, kind).value) if kind else []


def _first(examples: Sequence[example_pb2.Example], name: str, default: Any) -> np.ndarray:
    """Returns the first value of a feature of each timeline: [B]."""
    values = [(values_of(one, name) or [default])[0] for one in examples]
    return np.array(values, object if isinstance(default, bytes) else np.int64)


def _pad(rows: Sequence[Sequence[Any]], padding: Any) -> np.ndarray:
    """Returns [B, longest row, at least 1], filled up with `padding`."""
    width = max(1, *(len(row) for row in rows))
    dtype = {bytes: object, int: np.int64, float: np.float32}[type(padding)]
    dense = np.full((len(rows), width), padding, dtype)
    for index, row in enumerate(rows):
        dense[index, : len(row)] = row
    return dense


def _lengths(rows: Sequence[Sequence[Any]]) -> np.ndarray:
    """Returns how many values each row has: [B] int64."""
    return np.array([len(row) for row in rows], np.int64)
