"""Result pages, what they showed and what followed, out of the impressions of a bucket.

What is odd in a log has a rule, and is counted in the generation report:

- An event on a page that has not shown its entity before labels nothing; it stays in the history.
- An impression of an entity outside the catalogue stays a candidate, with its label, unless
  `unknown_entities` makes it a dead letter.
- A page of which nothing was clicked stays, with labels that are all 0.
- A page id that two users have is two pages.
- With labels, a page id that a user's impressions return to after more than `PAUSE` is another
  page from there on. An event belongs to the page that began last before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfx_pipeline.components.timeline_example_gen import report
from tfx_pipeline.components.timeline_example_gen.config import ANY
from tfx_pipeline.components.timeline_example_gen.config import MICROSECONDS_A_DAY
from tfx_pipeline.components.timeline_example_gen.report import Counts
from tfx_pipeline.components.timeline_example_gen.splits import Cuts
from tfx_pipeline.components.timeline_example_gen.splits import Events
from tfx_pipeline.components.timeline_example_gen.splits import is_of_type
from tfx_pipeline.components.timeline_example_gen.timeline import Timelines
from tfx_pipeline.datasets.catalogue_index import CatalogueIndex
from tfx_pipeline.datasets.row_hash import hash_ids
from transforms.arrow import pa
from transforms.label_config import LabelConfig

TRAIN, VALIDATION, TEST = 0, 1, 2
PAUSE = MICROSECONDS_A_DAY  # between two impressions of one page, at most


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
        position: [I] int64, the position, or the rank where the log has none.
        clicked: [I] int64, 1 when an event with the same entity on the same
            page came later.
        label: [I] int64, bit h is set when such an event of head h's type did;
            None without labels.
        without_impression: Events on pages that had not shown their entity; 0 without labels.
        returned_to: Pages that have the id of an earlier page of their user.
    """

    user: np.ndarray
    row: np.ndarray
    history: np.ndarray
    last_row: np.ndarray
    offsets: np.ndarray
    impression_row: np.ndarray
    position: np.ndarray
    clicked: np.ndarray
    label: np.ndarray | None
    without_impression: int
    returned_to: int


class _Groups(NamedTuple):
    """Impressions by page.

    Attributes:
        keys: [G] int64, ascending, one number for a user and a page id.
        key: [P] int64, which of them each page has, ascending.
        row: [P] int64, the first impression of each page, ascending within a key.
        page: [I] int64, the page of each impression.
    """

    keys: np.ndarray
    key: np.ndarray
    row: np.ndarray
    page: np.ndarray


def build(
    timelines: Timelines, shown: np.ndarray, events: Events, label: LabelConfig | None = None
) -> Pages:
    """Groups impressions into pages.

    Args:
        timelines: The bucket.
        shown: [N] bool, which rows are impressions; each has a page.
        events: The other rows.
        label: What is a label of an impression, if anything.
    """
    rows = np.flatnonzero(shown)
    groups = _group(timelines, rows)
    if label is not None:
        groups = _divide(timelines, rows, groups)
    order = np.argsort(groups.row)  # rows are in order, so this is by user and time
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    page, row = rank[groups.page], groups.row[order]
    user = timelines.user[row].astype(np.int64)
    before = np.searchsorted(events.row, row) - events.offsets[user]
    event_row, event_page = _events_on_pages(timelines, events, groups, rank)
    last_row = np.zeros(len(order), np.int64)
    np.maximum.at(last_row, page, rows)
    np.maximum.at(last_row, event_page, event_row)
    position = timelines.position[rows]
    sorting = np.lexsort((np.where(position < 0, np.iinfo(np.int32).max, position), page))
    offsets = np.searchsorted(page[sorting], np.arange(len(order) + 1))
    ranks = np.arange(len(rows)) - offsets[page[sorting]]

    entity = timelines.codes["entity"]
    shown_key = page << 32 | entity[rows]
    event_key = event_page << 32 | entity[event_row]
    clicked = _followed(shown_key, rows, event_key, event_row)
    labels, lost = None, 0
    if label is not None:
        labels = np.zeros(len(rows), np.int64)
        for head, name in enumerate((ANY,) if ANY in label.events else label.events):
            chosen = is_of_type(timelines, event_row, [name])
            found = _followed(shown_key, rows, event_key[chosen], event_row[chosen])
            labels |= found.astype(np.int64) << head
        labels = labels[sorting]
        on_a_page = timelines.codes["page"][events.row] >= 0
        # Time reversed, an event has to be followed by its impression.
        known = _followed(event_key[::-1], -event_row[::-1], shown_key[::-1], -rows[::-1])
        lost = int(on_a_page.sum() - known.sum())
    return Pages(
        user,
        row,
        before,
        last_row,
        offsets,
        rows[sorting],
        np.where(position[sorting] < 0, ranks, position[sorting]),
        clicked[sorting].astype(np.int64),
        labels,
        lost,
        len(groups.row) - len(groups.keys),
    )


def split_of(last_row: np.ndarray, user: np.ndarray, cuts: Cuts) -> np.ndarray:
    """Returns [P] int8, the split in which each page's labels become known.

    A page that straddles a cut belongs behind it: its click is held out. With
    `leave-last-out` the cuts are the user's two targets: pages whose labels are known from
    the first on are validation, from the second on test, and users without targets have
    pages in training alone.

    Args:
        last_row: [P] int64, the last row that belongs to each page.
        user: [P] int64.
        cuts: The bucket's splits.
    """
    behind = last_row >= cuts.validation_row[user]
    return behind.astype(np.int8) + (last_row >= cuts.test_row[user])


def count(
    timelines: Timelines,
    pages: Pages,
    of_split: np.ndarray,
    catalogue: CatalogueIndex,
    heads: Sequence[str],
) -> Counts:
    """Returns counts of labelled pages for the report.

    Args:
        timelines: The bucket.
        pages: Its pages, with labels.
        of_split: [P] int8, the split of each page.
        catalogue: Says which entities it has.
        heads: Names of the labels' bits.
    """
    assert pages.label is not None
    code = timelines.codes["entity"][pages.impression_row]
    distinct, inverse = np.unique(code, return_inverse=True)
    known, _ = catalogue.find(hash_ids(timelines.dictionaries["entity"].take(pa.array(distinct))))
    labelled = np.logical_or.reduceat(pages.label > 0, pages.offsets[:-1])
    train = pages.label[np.repeat(of_split == TRAIN, np.diff(pages.offsets))]
    return {
        "pages/all": len(pages.row),
        "pages/without_label": int((~labelled).sum()),
        "pages/impressions_not_in_catalogue": int((~known[inverse]).sum()),
        "pages/events_without_impression": pages.without_impression,
        "pages/ids_returned_to": pages.returned_to,
        **{f"train/labels/{head}": int((train >> bit & 1).sum()) for bit, head in enumerate(heads)},
    }


def _group(timelines: Timelines, rows: np.ndarray) -> _Groups:
    """Groups impressions by user and page id."""
    keys, first, page = np.unique(_key(timelines, rows), return_index=True, return_inverse=True)
    return _Groups(keys, np.arange(len(keys)), rows[first], page)


def _divide(timelines: Timelines, rows: np.ndarray, groups: _Groups) -> _Groups:
    """Divides pages at every pause between their impressions that is too long."""
    order = np.argsort(groups.page, kind="stable")
    key, time = groups.page[order], timelines.timestamp[rows[order]]
    first = np.ones(len(order), bool)
    first[1:] = (key[1:] != key[:-1]) | (time[1:] - time[:-1] > PAUSE)
    page = np.empty(len(order), np.int64)
    page[order] = np.cumsum(first) - 1
    return _Groups(groups.keys, key[first], rows[order[first]], page)


def _key(timelines: Timelines, rows: np.ndarray) -> np.ndarray:
    """Returns [n] int64, one number for a user and a page id."""
    return timelines.user[rows].astype(np.int64) << 32 | timelines.codes["page"][rows]


def _events_on_pages(
    timelines: Timelines, events: Events, groups: _Groups, rank: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of events that happened on a page with impressions, and that page."""
    rows = events.row[timelines.codes["page"][events.row] >= 0]
    if not len(groups.keys) or not len(rows):
        return rows[:0], rows[:0]
    wanted = _key(timelines, rows)
    found = np.minimum(np.searchsorted(groups.keys, wanted), len(groups.keys) - 1)
    known = groups.keys[found] == wanted
    rows, found = rows[known], found[known]
    if len(groups.row) == len(groups.keys):
        return rows, rank[found]
    began = np.searchsorted(groups.key << 32 | groups.row, found << 32 | rows, side="right") - 1
    return rows, rank[np.maximum(began, np.searchsorted(groups.key, found))]


def _followed(
    keys: np.ndarray, rows: np.ndarray, later_keys: np.ndarray, later_rows: np.ndarray
) -> np.ndarray:
    """Returns [n] bool, which rows one of the others with the same key follows.

    Args:
        keys: [n] int64.
        rows: [n] int64.
        later_keys: [m] int64.
        later_rows: [m] int64, ascending.
    """
    if not len(later_rows):
        return np.zeros(len(rows), bool)
    order = np.argsort(later_keys, kind="stable")  # rows ascend within a key: its last is latest
    ordered, latest = later_keys[order], later_rows[order]
    last = np.searchsorted(ordered, keys, side="right") - 1
    known = (last >= 0) & (ordered[last] == keys)
    return known & (latest[last] > rows)


def divide_ids(timelines: Timelines, pages: Pages, parts: int) -> Iterator[tuple[int, bytes]]:
    """Divides the page ids of a bucket's users by their hashes, which are all that is kept.

    Yields:
        Number of a part below `parts`, and hashes, one for each user and id.
    """
    code = timelines.codes["page"][pages.row]
    _, first = np.unique(pages.user << 32 | code, return_index=True)
    distinct, inverse = np.unique(code[first], return_inverse=True)
    hashes = hash_ids(timelines.dictionaries["page"].take(pa.array(distinct)))[inverse]
    part = (hashes % np.uint64(parts)).astype(np.int64)
    order = np.argsort(part, kind="stable")
    edges = np.searchsorted(part[order], np.arange(parts + 1))
    for number in np.flatnonzero(np.diff(edges)).tolist():
        yield number, hashes[order[edges[number] : edges[number + 1]]].tobytes()


def count_shared_ids(element: tuple[int, Iterable[bytes]]) -> bytes:
    """Counts the ids of a part that several users have, for the report."""
    hashes = np.frombuffer(b"".join(element[1]), np.uint64)
    _, users = np.unique(hashes, return_counts=True)
    return report.pack({"pages/ids_of_several_users": int((users > 1).sum())})
