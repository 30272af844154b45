"""Requests made from test timelines, as a shop would send them."""

from __future__ import annotations

from typing import Any

from tensorflow.core.example import example_pb2

from serving.client import Event
from serving.client import Request
from transforms import features


def request_of(timeline: bytes) -> Request:
    """Returns the request that a serialised raw timeline stands for; its targets are not read."""
    example = example_pb2.Example.FromString(timeline)
    columns = (features.EVENT_ENTITY, features.EVENT_TYPE, features.EVENT_TIMESTAMP)
    events = zip(*(_values(example, name) for name in columns), strict=True)
    query, time = _values(example, features.REQUEST_QUERY), _values(example, features.REQUEST_TIME)
    return Request(
        history=[Event(entity.decode(), kind.decode(), when) for entity, kind, when in events],
        query=query[0].decode() if query else "",
        user_attributes=[token.decode() for token in _values(example, features.USER_ATTRIBUTES)],
        request_time=time[0] if time else 0,
    )


def _values(example: example_pb2.Example, name: str) -> list[Any]:
    """Returns the values of a feature; none if it is missing."""
    feature = example.features.feature.get(name)
    kind = feature.WhichOneof("kind") if feature is not None else None
    return list(getattr(feature, kind).value) if kind else []
