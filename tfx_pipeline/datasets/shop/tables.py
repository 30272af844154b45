"""Turns pages into rows of the event log, and into the truth behind them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tfx_pipeline.datasets.schemas import EVENTS
from tfx_pipeline.datasets.schemas import IMPRESSION
from tfx_pipeline.datasets.shop.pages import BOUGHT
from tfx_pipeline.datasets.shop.pages import CARTED
from tfx_pipeline.datasets.shop.pages import CLICKED
from tfx_pipeline.datasets.shop.pages import WATCHED
from tfx_pipeline.datasets.shop.pages import Pages
from tfx_pipeline.datasets.shop.policy import NAVIGATE
from tfx_pipeline.datasets.shop.policy import SEARCH
from tfx_pipeline.datasets.shop.policy import VIDEO
from tfx_pipeline.datasets.shop.sessions import Plan
from tfx_pipeline.datasets.shop.text import NAVIGATED
from tfx_pipeline.datasets.shop.text import query_texts
from tfx_pipeline.datasets.shop.world import Ints
from tfx_pipeline.datasets.shop.world import World
from transforms.arrow import pa

EVENT_TYPES = (IMPRESSION, "click", "cart", "buy", "watch")
_BUY = 3

# Numbers of sessions, pages and rows go on from here in the next shard.
SHARD_STRIDE = 10**10
_PAGES_PER_TABLE = 20_000
_STATES = ("memory_item", "memory_strength", "clicked_item", "clicked_strength", "recent")


@dataclass
class Numbers:
    """The next number of a session, a page and a row; they go on from block to block."""

    session: int
    page: int
    row: int


@dataclass(frozen=True)
class BlockLog:
    """Rows of one block of users.

    Attributes:
        world: The shop.
        plan: The steps of the block's users.
        pages: What came of them.
        first_user: Number of the first user.
        numbers: The block's first session, page and row.
        start_time: First microsecond of the log.
    """

    world: World
    plan: Plan
    pages: Pages
    first_user: int
    numbers: Numbers
    start_time: int

    def event_tables(self) -> Iterator[pa.Table]:
        """Yields the events, ordered by user and time; each table holds whole users."""
        row = self.numbers.row
        for first, last in self._whole_users():
            table = self._events(first, last, row)
            row += table.num_rows
            yield table

    def _whole_users(self) -> Iterator[tuple[int, int]]:
        """Yields ranges of steps that start and end with users."""
        turn = self.plan.turn
        first = 0
        for end in np.append(np.flatnonzero(turn == 0)[1:], len(turn)).tolist():
            if end - first >= _PAGES_PER_TABLE or end == len(turn):
                yield first, end
                first = end

    def _events(self, first: int, last: int, row: int) -> pa.Table:
        """Makes the rows of the steps from `first` to `last`, numbered from `row` on."""
        plan, pages = self.plan, self.pages
        kind, step, position, time = self._occurrences(first, last)
        session = plan.session[step]
        user = plan.user[session]
        order = np.lexsort((position, kind, step, time, user))
        kind, step, position, time = kind[order], step[order], position[order], time[order]
        session, user = session[order], user[order]
        thing = pages.shown[step, position]
        is_video = plan.page_entry[step] == VIDEO
        ids = np.empty(len(step), np.int64)
        ids[is_video] = self.world.video_id[thing[is_video]]
        ids[~is_video] = self.world.item_id[thing[~is_video]]
        value = pages.watched[step, position].astype(np.float32) / 100
        bought = kind == _BUY
        value[bought] = self.world.item_price[thing[bought]]
        entry = plan.page_entry[step]
        query = query_texts(
            (entry == SEARCH) | (entry == NAVIGATE),
            pages.focus_leaf[step].astype(np.int64),
            np.where(entry == NAVIGATE, NAVIGATED, plan.query_word[session]),
            pages.use[step].astype(np.int64),
            pages.brand[step].astype(np.int64),
        )
        columns = [
            _text(self.first_user + user + 1),
            _choice(is_video, ("item", "video")),
            _text(ids),
            _choice(kind, EVENT_TYPES),
            pa.array(self.start_time + time),
            pa.array(row + np.arange(len(step))),
            _text(self.numbers.session + session),
            _text(self.numbers.page + step),
            pa.array(position.astype(np.int32)),
            query,
            pa.array(value, mask=kind < _BUY),
        ]
        return pa.table(columns, schema=EVENTS)

    def _occurrences(self, first: int, last: int) -> tuple[Ints, Ints, Ints, Ints]:
        """Returns kind, step, position and time of everything that happened, unordered."""
        shown, outcome = self.pages.shown[first:last], self.pages.outcome[first:last]
        pieces = []
        for kind, flag in enumerate((0, CLICKED, CARTED, BOUGHT, WATCHED)):
            step, position = np.nonzero((outcome & flag) > 0 if flag else shown >= 0)
            step = step + first
            time = self.plan.time[step]
            if flag:
                time = time + self.pages.until(flag, step, position)
            pieces.append((np.full(len(step), kind), step, position, time))
        kinds, steps, positions, times = (np.concatenate(c) for c in zip(*pieces, strict=True))
        return kinds, steps, positions, times

    def truth_table(self) -> pa.Table:
        """Returns what was behind the first pages, as many as have their memories kept."""
        plan, pages = self.plan, self.pages
        kept = slice(0, len(pages.memory_item))
        session = plan.session[kept]
        columns = {
            "page_id": _text(self.numbers.page + np.arange(len(session))),
            "user": pa.array(self.first_user + plan.user[session]),
            "time": pa.array(plan.time[kept]),
            "entry": pa.array(plan.page_entry[kept]),
            "interest": pa.array(plan.interest[session]),
            "awake": pa.array(plan.awake[session] @ (1 << np.arange(plan.awake.shape[1]))),
        }
        for name in ("focus_leaf", "focus_use", "leaf", "use", "brand"):
            columns[name] = pa.array(getattr(pages, name)[kept].astype(np.int64))
        for name in _STATES:
            values = getattr(pages, name)
            flat = pa.array(values.reshape(-1))
            columns[name] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        return pa.table(columns)


def _text(numbers: Ints) -> pa.Array:
    return pa.array(numbers, pa.int64()).cast(pa.string())


def _choice(index: np.ndarray, values: tuple[str, ...]) -> pa.Array:
    indices = pa.array(index.astype(np.int8))
    return pa.DictionaryArray.from_arrays(indices, pa.array(values)).cast(pa.string())
