"""Cuts of a user's events into history and targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfx_pipeline.components.timeline_example_gen.config import ANY
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.timeline import Timelines
from tfx_pipeline.datasets.row_hash import hash_ids
from transforms.arrow import pa
from transforms.arrow import pc


class Events(NamedTuple):
    """The rows of a bucket that are no impressions.

    Attributes:
        row: [E] int64, their rows in the timelines.
        user: [E] int32.
        offsets: [U + 1] int64, where each user's events start.
        eligible: [E] bool, which may be targets by their types.
    """

    row: np.ndarray
    user: np.ndarray
    offsets: np.ndarray
    eligible: np.ndarray


class HeldOut(NamedTuple):
    """The examples of a held-out split.

    Attributes:
        user: [B] int64, users with at least one target, ascending.
        start: [B] int64, the first event of each history.
        end: [B] int64, one behind its last event.
        targets: [T] int64, events that are targets.
        offsets: [B + 1] int64, where each example's targets start.
    """

    user: np.ndarray
    start: np.ndarray
    end: np.ndarray
    targets: np.ndarray
    offsets: np.ndarray


class Cuts(NamedTuple):
    """A bucket's splits.

    Attributes:
        train_end: [U] int64, one behind each user's last training event.
        validation: Its examples.
        test: Its examples.
        validation_row: [U] int64, the first row of the timelines, impressions
            included, that training may not see the outcome of.
        test_row: [U] int64, the same for validation.
    """

    train_end: np.ndarray
    validation: HeldOut
    test: HeldOut
    validation_row: np.ndarray
    test_row: np.ndarray


def select_events(timelines: Timelines, shown: np.ndarray, config: TimelineConfig) -> Events:
    """Picks the rows that are no impressions and says which may be targets."""
    row = np.flatnonzero(~shown)
    user = timelines.user[row]
    offsets = np.searchsorted(user, np.arange(len(timelines.users) + 1))
    eligible = is_of_type(timelines, row, config.target_events)
    if ANY not in config.candidate_types:
        wanted = of_entity_type(timelines.dictionaries["entity"], config.candidate_types)
        eligible = eligible & wanted[timelines.codes["entity"][row]]
    return Events(row, user, offsets, eligible)


def cut(
    timelines: Timelines, events: Events, config: TimelineConfig, starts: tuple[int, int]
) -> Cuts:
    """Cuts each user's events.

    Args:
        timelines: The bucket.
        events: Its events.
        config: Says which split.
        starts: Microseconds at which validation and test start, for `time-cut`.
    """
    if config.split == "leave-last-out":
        return _leave_last_out(timelines, events, config)
    by_share = config.split == "leave-share-out"
    rows = _leave_share_out(timelines, config) if by_share else _time_cut(timelines, starts)
    return _freeze(timelines, events, rows, config)


def draw_users(timelines: Timelines, user: np.ndarray, most: int) -> np.ndarray:
    """Draws users by a hash of their ids, the same ones in every run.

    Args:
        timelines: The bucket.
        user: [n] int64, the users of some rows.
        most: Users that are drawn; 0 is all.

    Returns:
        [n] bool, the rows of users that are drawn.
    """
    distinct, inverse = np.unique(user, return_inverse=True)
    if not most or len(distinct) <= most:
        return np.ones(len(user), bool)
    hashes = hash_ids(timelines.users.take(pa.array(distinct)))
    drawn = np.zeros(len(distinct), bool)
    drawn[np.argpartition(hashes, most - 1)[:most]] = True
    kept: np.ndarray = drawn[inverse]
    return kept


def draw_examples(timelines: Timelines, held: HeldOut, most: int) -> HeldOut:
    """Returns the examples of users whom `draw_users` draws."""
    kept = draw_users(timelines, held.user, most)
    sizes = np.diff(held.offsets)
    offsets = np.concatenate([[0], np.cumsum(sizes[kept])])
    targets = held.targets[np.repeat(kept, sizes)]
    return HeldOut(held.user[kept], held.start[kept], held.end[kept], targets, offsets)


def is_of_type(timelines: Timelines, rows: np.ndarray, types: Sequence[str]) -> np.ndarray:
    """Returns [n] bool, which of [n] rows are events of some types; `*` is all."""
    if ANY in types:
        return np.ones(len(rows), bool)
    wanted = pa.array([name.encode() for name in types], pa.binary())
    listed = np.asarray(pc.is_in(timelines.dictionaries["event"], wanted))
    return listed[timelines.codes["event"][rows]]


def of_entity_type(names: pa.Array, types: Sequence[str]) -> np.ndarray:
    """Returns [V] bool, which of [V] entities `type:id` are of some types; `*` is all."""
    if ANY in types:
        return np.ones(len(names), bool)
    found = pc.list_element(pc.split_pattern(names, ":"), 0)
    return np.asarray(pc.is_in(found, pa.array([name.encode() for name in types], pa.binary())))


def training_targets(events: Events, train_end: np.ndarray) -> np.ndarray:
    """Returns [E] bool, which events may be targets in training."""
    return events.eligible & (np.arange(len(events.row)) < train_end[events.user])


def _leave_last_out(timelines: Timelines, events: Events, config: TimelineConfig) -> Cuts:
    eligible = np.flatnonzero(events.eligible)
    users = np.arange(len(timelines.users))
    ends = np.searchsorted(events.user[eligible], users, side="right")
    starts = np.searchsorted(events.user[eligible], users)
    held = np.flatnonzero(ends - starts >= config.min_target_events)
    validation, test = eligible[ends[held] - 2], eligible[ends[held] - 1]
    train_end = events.offsets[1:].copy()
    train_end[held] = validation
    rows = np.searchsorted(timelines.user, users, side="right")
    validation_row, test_row = rows.copy(), rows.copy()
    validation_row[held], test_row[held] = events.row[validation], events.row[test]
    start, one_each = events.offsets[:-1][held], np.arange(len(held) + 1)
    return Cuts(
        train_end,
        HeldOut(held, start, validation, validation, one_each),
        HeldOut(held, start, test, test, one_each),
        validation_row,
        test_row,
    )


def _time_cut(timelines: Timelines, starts: Sequence[int]) -> list[np.ndarray]:
    """Returns [U] int64, each user's first row from a moment on, for each moment."""
    users = len(timelines.users)
    first = np.searchsorted(timelines.user, np.arange(users))
    time = timelines.timestamp
    return [first + np.bincount(timelines.user[time < start], minlength=users) for start in starts]


def _leave_share_out(timelines: Timelines, config: TimelineConfig) -> list[np.ndarray]:
    """Returns [U] int64, the first row of each user's validation share, and of the test share."""
    offsets = np.searchsorted(timelines.user, np.arange(len(timelines.users) + 1))
    validation, test = (
        np.rint(np.diff(offsets) * share).astype(np.int64)
        for share in (config.validation_share, config.test_share)
    )
    return [offsets[1:] - test - validation, offsets[1:] - test]


def _freeze(
    timelines: Timelines, events: Events, rows: Sequence[np.ndarray], config: TimelineConfig
) -> Cuts:
    """Freezes each user's history at two rows; all that follows is held out.

    Args:
        timelines: The bucket.
        events: Its events.
        rows: [U] int64 each, the first row of each user's validation and of the test.
        config: Says which users are held out.
    """
    ends = [np.searchsorted(events.row, row) for row in rows] + [events.offsets[1:]]
    entity = timelines.codes["entity"][events.row]
    held = [_first_of_each(events, entity, ends[i], ends[i + 1], config) for i in (0, 1)]
    return Cuts(ends[0], held[0], held[1], rows[0], rows[1])


def _first_of_each(
    events: Events, entity: np.ndarray, begin: np.ndarray, end: np.ndarray, config: TimelineConfig
) -> HeldOut:
    """Takes the distinct entities of a period as targets, in the order of their first events."""
    number = np.arange(len(events.row))
    inside = events.eligible & (number >= begin[events.user]) & (number < end[events.user])
    inside &= (begin - events.offsets[:-1] >= config.min_history)[events.user]
    rows = np.flatnonzero(inside)
    key = events.user[rows].astype(np.int64) << 32 | entity[rows]
    _, first = np.unique(key, return_index=True)
    targets = rows[np.sort(first)]
    user, offsets = np.unique(events.user[targets], return_index=True)
    user = user.astype(np.int64)
    offsets = np.append(offsets, len(targets)).astype(np.int64)
    return HeldOut(user, events.offsets[:-1][user], begin[user], targets, offsets)
