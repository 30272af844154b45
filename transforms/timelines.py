"""Changes of serialised raw timelines."""

from __future__ import annotations

from tensorflow.core.example import example_pb2

HISTORY_PREFIXES = ("event/", "page/", "impression/")


def without_history(timeline: bytes) -> bytes:
    """Returns a timeline of the same user and targets of whom no event is known."""
    example = example_pb2.Example.FromString(timeline)
    for name in list(example.features.feature):
        if name.startswith(HISTORY_PREFIXES):
            del example.features.feature[name]
    serialised: bytes = example.SerializeToString(deterministic=True)
    return serialised
