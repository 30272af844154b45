"""Interactions as arrays, divided as `leave-last-out` divides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import EventLog
from transforms.arrow import pa
from transforms.arrow import pc
from transforms.arrow import read_table


@dataclass(frozen=True)
class Interactions:
    """Sequences of items of users, one after the other.

    Attributes:
        items: [n] int64 item numbers, oldest first within a user.
        starts: [users + 1] int64, where each user begins.
        names: [items] item names, `type:id`.
    """

    items: np.ndarray
    starts: np.ndarray
    names: np.ndarray

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.starts) - 1

    def without_last(self, count: int) -> Interactions:
        """Returns every sequence without its last `count` items.

        Raises:
            ValueError: A user has no more than `count` items.
        """
        if not count:
            return self
        lengths = np.diff(self.starts) - count
        if lengths.min() < 1:
            raise ValueError(
                f"Every user needs more than {count} items; user number {lengths.argmin()} has "
                f"{lengths.min() + count}. Drop such users first."
            )
        ends = np.repeat(self.starts[1:] - count, np.diff(self.starts))
        kept = self.items[np.arange(len(self.items)) < ends]
        return Interactions(kept, np.concatenate([[0], np.cumsum(lengths)]), self.names)

    def divided(self, least: int) -> tuple[Interactions, Interactions]:
        """Returns the users with at least so many items, and the others."""
        lengths = np.diff(self.starts)

        def chosen(keep: np.ndarray) -> Interactions:
            starts = np.concatenate([[0], np.cumsum(lengths[keep])])
            return Interactions(self.items[np.repeat(keep, lengths)], starts, self.names)

        return chosen(lengths >= least), chosen(lengths < least)

    def joined(self, others: Interactions) -> Interactions:
        """Returns these users and others after them."""
        items = np.concatenate([self.items, others.items])
        starts = np.concatenate([self.starts, self.starts[-1] + others.starts[1:]])
        return Interactions(items, starts, self.names)

    def last(self) -> np.ndarray:
        """Returns [users] int64, the last item of each user."""
        return self.items[self.starts[1:] - 1]

    def matrix(self, newest: int | None = None, decay: float = 1.0) -> sparse.csr_matrix:
        """Returns users x items: 1 for an item of the sequence, or less the longer ago.

        Args:
            newest: Only so many items at the end count; None counts all.
            decay: Factor for each step back from the last item.

        Returns:
            [users, items] float32; an item that comes twice has its newest weight.
        """
        lengths = np.diff(self.starts)
        user = np.repeat(np.arange(self.users), lengths)
        age = np.repeat(self.starts[1:], lengths) - 1 - np.arange(len(self.items))
        keep = age < (newest or len(self.items))
        user, item, age = user[keep], self.items[keep], age[keep]
        _, first = np.unique(
            (user * len(self.names) + item)[::-1], return_index=True
        )  # the newest of equal pairs, for ages fall along a sequence
        chosen = len(user) - 1 - first
        weight = np.power(decay, age[chosen]).astype(np.float32)
        shape = (self.users, len(self.names))
        return sparse.csr_matrix((weight, (user[chosen], item[chosen])), shape=shape)


def read_interactions(log_dir: str | Path) -> Interactions:
    """Reads an event log: every event, in the order that the pipeline sees.

    Args:
        log_dir: Directory of an event log.

    Returns:
        Sequences of all users; items are those of the catalogue.
    """
    log = EventLog(log_dir)
    columns = ["user_id", "entity_type", "entity_id", "timestamp", "ordinal"]
    events = pa.concat_tables(read_table(f, columns=columns) for f in log.files(EVENTS_TABLE))
    rows = pa.concat_tables(read_table(f, columns=columns[1:3]) for f in log.files(CATALOGUE_TABLE))
    names = _names(rows).unique()
    user = np.asarray(events["user_id"].combine_chunks().dictionary_encode().indices)
    item = np.asarray(pc.index_in(_names(events), names))
    time, ordinal = (np.asarray(events[name]).astype(np.int64) for name in columns[3:])
    order = np.lexsort((ordinal, time, user))
    starts = np.concatenate([[0], np.cumsum(np.bincount(user))])
    return Interactions(item[order].astype(np.int64), starts, np.asarray(names))


def _names(table: pa.Table) -> pa.Array:
    """Returns `type:id` of each row."""
    joined = pc.binary_join_element_wise(table["entity_type"], table["entity_id"], ":")
    return joined.combine_chunks()
