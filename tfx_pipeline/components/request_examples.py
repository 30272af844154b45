"""Chooses the examples of a split that requests to a server are made of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from tensorflow.core.example import example_pb2

from serving.index.embedding.records import read_batches
from serving.publishing.requests import values_of
from transforms import features as f

_LOOKED_AT = 4096  # records at the beginning of a split


def request_examples(files: Sequence[str], count: int) -> list[bytes]:
    """Returns the first example of each user, and one without history where there is any.

    Page examples are ordered by user: the first records of a split may all be one user's.

    Args:
        files: TFRecord files of serialised raw timelines or page examples; their
            first 4,096 records are looked at.
        count: Examples to return. Where there are fewer users, more of each.

    Returns:
        Serialised examples, `count` if there are as many.
    """
    if not count:
        return []
    firsts: list[bytes] = []
    others: list[bytes] = []
    users: set[bytes] = set()
    without_history = None
    for raw in chain.from_iterable(read_batches(files, 32, _LOOKED_AT)):
        example = example_pb2.Example.FromString(raw)
        user = b"".join(values_of(example, f.USER_ID))
        (others if user in users else firsts).append(raw)
        users.add(user)
        if without_history is None and not values_of(example, f.EVENT_ENTITY):
            without_history = raw
        if len(firsts) >= count and without_history is not None:
            break
    chosen = (firsts + others)[:count]
    if count > 1 and without_history is not None and without_history not in chosen:
        chosen[-1] = without_history
    return chosen
