"""Result pages and what they showed, out of the impressions of a bucket."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfx_pipeline.components.timeline_example_gen.splits import Events
from tfx_pipeline.components.timeline_example_gen.timeline import Timelines

TRAIN, VALIDATION, TEST = 0, 1, 2


class Pages(NamedTuple):
    """Pages by user, in the order in which they were first seen.

    Attributes:
        user: [P] int64, ascending.
        row: [P] int64, the first impression's row in the timelines.
        history: [P] int64, the user's events that came before the page.
        last_row: [P] int64, the last row, of an impression or of an event on
            the page: from then on its labels are known.
        offsets: [P + 1] int64, where each page's impressions start.
        impression_row: [I] int64, rows of impressions by page and position.
        place: [I] int64, the position, or the rank where the log has none.
        clicked: [I] int64, 1 when an event with the same entity on the same
            page came later.
    """

    user: np.ndarray
    row: np.ndarray
    history: np.ndarray
    last_row: np.ndarray
    offsets: np.ndarray
    impression_row: np.ndarray
    place: np.ndarray
    clicked: np.ndarray


def build(timelines: Timelines, shown: np.ndarray, events: Events) -> Pages:
    """Groups impressions into pages.

    Args:
        timelines: The bucket.
        shown: [N] bool, which rows are impressions; each has a page.
        events: The other rows.
    """
    rows = np.flatnonzero(shown)
    keys, first, inverse = np.unique(_key(timelines, rows), return_index=True, return_inverse=True)
    order = np.argsort(first)  # rows are in order, so this is by user and time
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    page = rank[inverse]
    row = rows[first[order]]
    user = timelines.user[row].astype(np.int64)
    before = np.searchsorted(events.row, row) - events.offsets[user]
    on_page, event_page = _events_on_pages(timelines, events, keys, rank)
    last_row = np.zeros(len(order), np.int64)
    np.maximum.at(last_row, page, rows)
    np.maximum.at(last_row, event_page, on_page)
    clicked = _clicked(timelines, rows, page, on_page, event_page)
    position = timelines.position[rows]
    sorting = np.lexsort((np.where(position < 0, np.iinfo(np.int32).max, position), page))
    offsets = np.searchsorted(page[sorting], np.arange(len(order) + 1))
    ranks = np.arange(len(rows)) - offsets[page[sorting]]
    place = np.where(position[sorting] < 0, ranks, position[sorting])
    return Pages(
        user,
        row,
        before,
        last_row,
        offsets,
        rows[sorting],
        place,
        clicked[sorting].astype(np.int64),
    )


def split_of(pages: Pages, validation_row: np.ndarray, test_row: np.ndarray) -> np.ndarray:
    """Returns [P] int8, the split in which each page's labels become known.

    A page that straddles a cut belongs behind it: its click is held out.

    Args:
        pages: The pages of a bucket.
        validation_row: [U] int64, see `splits.Cuts`.
        test_row: [U] int64.
    """
    behind = pages.last_row >= validation_row[pages.user]
    return behind.astype(np.int8) + (pages.last_row >= test_row[pages.user])


def _key(timelines: Timelines, rows: np.ndarray) -> np.ndarray:
    """Returns [n] int64, one number for a user and a page."""
    return timelines.user[rows].astype(np.int64) << 32 | timelines.codes["page"][rows]


def _events_on_pages(
    timelines: Timelines, events: Events, keys: np.ndarray, rank: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of events that happened on a page with impressions, and that page."""
    rows = events.row[timelines.codes["page"][events.row] >= 0]
    if not len(keys) or not len(rows):
        return rows[:0], rows[:0]
    wanted = _key(timelines, rows)
    found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    known = keys[found] == wanted
    return rows[known], rank[found[known]]


def _clicked(
    timelines: Timelines,
    rows: np.ndarray,
    page: np.ndarray,
    event_rows: np.ndarray,
    event_page: np.ndarray,
) -> np.ndarray:
    """Returns [I] bool, which impressions an event on the same page and entity followed."""
    if not len(event_rows):
        return np.zeros(len(rows), bool)
    entity = timelines.codes["entity"]
    keys = event_page << 32 | entity[event_rows]
    order = np.argsort(keys, kind="stable")  # rows ascend within a key: its last is the latest
    keys, latest = keys[order], event_rows[order]
    wanted = page << 32 | entity[rows]
    last = np.searchsorted(keys, wanted, side="right") - 1
    known = (last >= 0) & (keys[last] == wanted)
    return known & (latest[last] > rows)
