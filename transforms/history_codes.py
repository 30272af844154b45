"""Histories as codes: the record of an event, which servables describe and clients fill in."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np


@dataclasses.dataclass(frozen=True)
class HistoryLayout:
    """Layout of the record of an event: little-endian unsigned integers without gaps.

    | field | bytes | what it is |
    |---|---|---|
    | `item` | 2 or 4 | index in the vocabulary of entities |
    | `type` | 1 or 2 | index in the vocabulary of event types |
    | `age` | 1 | bucket of the time from the event to the request |
    | `value` | 1 | its value, rounded |
    | `query` | 2 | position of the query that led to it among those of the history |

    What a model does not read has no field.

    Attributes:
        entities: V + 1, the greatest index of an entity plus one.
        event_types: Likewise of event types.
        window: The newest events that the model reads.
        ages: Microseconds at which the second and every further bucket of ages begins; empty
            where ages are not read.
        values: A value counts as at most this less one; 0 where values are not read.
        queries: Whether queries are read.
    """

    entities: int
    event_types: int
    window: int
    ages: tuple[int, ...] = ()
    values: int = 0
    queries: bool = False

    @property
    def record(self) -> np.dtype[np.void]:
        """The record as a NumPy type."""
        fields = [
            ("item", "<u2" if self.entities <= 1 << 16 else "<u4"),
            ("type", "<u1" if self.event_types <= 1 << 8 else "<u2"),
        ]
        if self.ages:
            fields.append(("age", "<u1"))
        if self.values:
            fields.append(("value", "<u1"))
        if self.queries:
            fields.append(("query", "<u2"))
        return np.dtype(fields)

    def version(self, entities: bytes, event_types: bytes) -> str:
        """Names the codes: equal layouts and vocabularies alone have equal names.

        Args:
            entities: Content of the vocabulary's file.
            event_types: Likewise of event types.
        """
        digest = hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode())
        for vocabulary in (entities, event_types):
            digest.update(hashlib.sha256(vocabulary).digest())
        return digest.hexdigest()[:16]
