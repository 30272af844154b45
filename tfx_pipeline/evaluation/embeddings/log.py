"""A divided event log as arrays: what tasks take their labels from."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from tfx_pipeline.datasets.division import CATEGORIES
from tfx_pipeline.datasets.division import KNOWN
from tfx_pipeline.datasets.division import LATER
from tfx_pipeline.datasets.division import NOTE
from tfx_pipeline.datasets.division import USER_ATTRIBUTES
from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import IMPRESSION
from tfx_pipeline.datasets.event_log import USERS_TABLE
from tfx_pipeline.datasets.event_log import EventLog
from transforms.arrow import pa
from transforms.arrow import pc

MOST_CATEGORIES = 50
LEAST_OF_CATEGORY = 10  # items
MOST_CLASSES = 50  # of a user attribute

_COLUMNS = [
    "user_id", "entity_type", "entity_id", "event", "timestamp", "ordinal", "page_id", "value",
]  # fmt: skip


@dataclass(frozen=True)
class Events:
    """What users did, or were shown; by user, oldest first.

    Attributes:
        user: [n] int64 rows of `DividedLog.users`.
        item: [n] int64 rows of `DividedLog.items`.
        value: [n] float32, NaN where there is none; of what was shown, whether it was taken.
    """

    user: np.ndarray
    item: np.ndarray
    value: np.ndarray

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True)
class DividedLog:
    """A log, divided into what embeddings may know and what comes later.

    U users, who did something in the known part, N items of the catalogue, C categories, the
    most common ones that enough items have.

    Attributes:
        name: Of the log.
        users: [U] ids.
        items: [N] `type:id`.
        known: Events that embeddings may have seen.
        later: Events that they may not.
        shown: Later impressions, and whether they were followed by an event on their page.
        attributes: By name [U] codes from 0, -1 where a user does not tell.
        categories: [N, C] bool.
        hidden: What the known log lacks, of `tfx_pipeline.datasets.division.HIDEABLE`.
        events: Rows of the known part's events table, those of other types too, where it is told.
    """

    name: str
    users: np.ndarray
    items: np.ndarray
    known: Events
    later: Events
    shown: Events
    attributes: dict[str, np.ndarray]
    categories: np.ndarray
    hidden: frozenset[str]
    events: int | None = None

    @functools.cached_property
    def known_matrix(self) -> sparse.csr_matrix:
        """The pairs of the known part: [U, N] bool."""
        return self.matrix(self.known.user, self.known.item)

    def matrix(self, user: np.ndarray, item: np.ndarray) -> sparse.csr_matrix:
        """Returns where users [n] and items [n] are paired, once or more: [U, N] bool."""
        shape = len(self.users), len(self.items)
        pairs = np.unique(self.pair(user, item))
        return sparse.csr_matrix((np.ones(len(pairs), bool), np.divmod(pairs, shape[1])), shape)

    def pair(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Numbers pairs of users [n] and items [n]: [n] int64."""
        return user * len(self.items) + item

    def is_known(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Returns whether users [n] had to do with items [n] in the known part: [n] bool."""
        return np.asarray(self.known_matrix[user, item]).reshape(-1)


def read_divided(directory: str | Path, types: Sequence[str] = ()) -> DividedLog:
    """Reads what `vitrine data divide` made.

    Args:
        directory: With the event logs `known` and `later`.
        types: Entity types whose items count; all by default.

    Raises:
        FileNotFoundError: One of the logs is not there.
        ValueError: They were not made by a division, or no user or item is left.
    """
    root = Path(directory)
    if not all((root / side).is_dir() for side in (KNOWN, LATER)):
        raise FileNotFoundError(
            f"`{root}` holds no divided log: it has no `{KNOWN}` and `{LATER}`. Make one with "
            "`vitrine data divide LOG --out DIR`, train on DIR/known, and name DIR here."
        )
    before, after = EventLog(root / KNOWN), EventLog(root / LATER)
    note = after.manifest.notes.get(NOTE)
    if not isinstance(note, dict):
        raise ValueError(f"`{root}` was not made by `vitrine data divide`: its manifests say none.")
    catalogue = after.read(CATALOGUE_TABLE, ["entity_type", "entity_id", "categories"])
    if types:
        catalogue = catalogue.filter(pc.is_in(catalogue["entity_type"], pa.array(types)))
    items = pc.unique(_names(catalogue))
    events = before.read(EVENTS_TABLE, _COLUMNS)
    events = events.filter(pc.is_in(_names(events), items))
    did = events.filter(pc.not_equal(events["event"], IMPRESSION))
    users = pc.unique(did["user_id"].combine_chunks())
    if not len(users) or not len(items):
        raise ValueError(f"`{root}/{KNOWN}` has no event with an item of the types {list(types)}.")
    known, _ = _events(events, users, items)
    later, shown = _events(after.read(EVENTS_TABLE, _COLUMNS), users, items)
    return DividedLog(
        name=after.manifest.name.removesuffix(f"-{LATER}"),
        users=np.asarray(users.to_pylist(), object),
        items=np.asarray(items.to_pylist(), object),
        known=known,
        later=later,
        shown=shown,
        attributes=_attributes(after.read(USERS_TABLE), users),
        categories=_categories(catalogue, items),
        hidden=frozenset(note["hidden"]) & {USER_ATTRIBUTES, CATEGORIES},
        events=before.manifest.events,
    )


def _names(table: pa.Table) -> pa.Array:
    """Returns `type:id` of each row."""
    columns = (table[name].combine_chunks() for name in ("entity_type", "entity_id"))
    return pc.binary_join_element_wise(*columns, ":")


def _events(table: pa.Table, users: pa.Array, items: pa.Array) -> tuple[Events, Events]:
    """Returns what given users did with given items, and what of these they were shown."""
    user = pc.index_in(table["user_id"].combine_chunks(), users)
    item = pc.index_in(_names(table), items)
    kept = pc.and_(user.is_valid(), item.is_valid())
    table = table.filter(kept)
    user, item = (np.asarray(column.filter(kept)).astype(np.int64) for column in (user, item))
    shown = np.asarray(pc.equal(table["event"], IMPRESSION))
    value = np.asarray(table["value"].cast(pa.float32()).fill_null(np.nan))
    page = table["page_id"].combine_chunks().dictionary_encode().indices
    page = np.asarray(page.fill_null(-1)).astype(np.int64)
    time, ordinal = (np.asarray(table[name]) for name in ("timestamp", "ordinal"))
    order = np.lexsort((ordinal, time, user))
    did, saw = order[~shown[order]], order[shown[order] & (page[order] >= 0)]
    # What was done on a page is what was taken of it.
    place = page * len(items) + item
    taken = np.isin(place[saw], place[did[page[did] >= 0]]).astype(np.float32)
    return Events(user[did], item[did], value[did]), Events(user[saw], item[saw], taken)


def _attributes(table: pa.Table, users: pa.Array) -> dict[str, np.ndarray]:
    """Returns the classes of attributes `key=value` that users tell one of."""
    row = pc.index_in(table["user_id"].combine_chunks(), users).fill_null(-1)
    row = np.asarray(row).astype(np.int64)
    lists = table["attributes"].combine_chunks()
    if not len(table) or lists.null_count == len(lists):
        return {}
    parent = row[np.asarray(pc.list_parent_indices(lists))]
    told = lists.flatten()
    of_known = pa.array(parent >= 0)
    told, parent = told.filter(of_known), parent[parent >= 0]
    parts = pc.split_pattern(told, "=", max_splits=1)
    key = np.asarray(pc.list_element(parts, 0).to_pylist(), object)
    found = {}
    for name in sorted(set(key)):
        mine = key == name
        values = np.asarray(told.filter(pa.array(mine)).to_pylist(), object)
        classes, code = np.unique(values, return_inverse=True)
        if 2 <= len(classes) <= MOST_CLASSES and len(np.unique(parent[mine])) == mine.sum():
            found[name] = np.full(len(users), -1, np.int64)
            found[name][parent[mine]] = code
    return found


def _categories(catalogue: pa.Table, items: pa.Array) -> np.ndarray:
    """Returns which of N items are of which of the C most common categories, [N, C] bool."""
    lists = catalogue["categories"].combine_chunks()
    row = np.asarray(pc.index_in(_names(catalogue), items)).astype(np.int64)
    parent = row[np.asarray(pc.list_parent_indices(lists))]
    names = lists.flatten().dictionary_encode()
    pairs = np.unique(np.stack([np.asarray(names.indices).astype(np.int64), parent]), axis=1)
    count = np.bincount(pairs[0], minlength=len(names.dictionary))
    common = np.argsort(-count, kind="stable")[:MOST_CATEGORIES]
    # A category that every item has tells nothing.
    common = common[(count[common] >= LEAST_OF_CATEGORY) & (count[common] < len(items))]
    column = np.full(len(count), -1)
    column[common] = np.arange(len(common))
    category, item = column[pairs[0]], pairs[1]
    table = np.zeros((len(items), len(common)), bool)
    table[item[category >= 0], category[category >= 0]] = True
    return table
