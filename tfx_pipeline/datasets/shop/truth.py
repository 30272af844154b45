"""Reads the truth that lies beside a simulated log, and joins it with the log."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfx_pipeline.datasets.event_log import IMPRESSION
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.shop import utility
from tfx_pipeline.datasets.shop.config import DAY
from tfx_pipeline.datasets.shop.policy import VIDEO
from tfx_pipeline.datasets.shop.policy import Request
from tfx_pipeline.datasets.shop.policy import make_request
from tfx_pipeline.datasets.shop.users import MAX_INTERESTS
from tfx_pipeline.datasets.shop.users import Users
from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import Ints
from tfx_pipeline.datasets.shop.world import World
from tfx_pipeline.datasets.shop.world import load_config
from transforms.arrow import pa
from transforms.arrow import pc
from transforms.arrow import read_table

POSITIVE = {"item": "click", "video": "watch"}
_COLUMNS = ("user_id", "entity_type", "entity_id", "event", "timestamp", "page_id", "position")
_BLOCK = 20_000
_MILLISECOND = 1_000  # microseconds


@dataclass(frozen=True)
class Impressions:
    """Impressions of n pages of one kind.

    Attributes:
        page: [n] rows of `Truth.pages`.
        things: [n, C] rows of items or videos, -1 where fewer were shown.
        chosen: [n, C] whether it was clicked (item) or watched (video).
    """

    page: Ints
    things: Ints
    chosen: np.ndarray


class Truth:
    """The world, the users and the state behind every kept page.

    Attributes:
        config: What the shop was made with.
        world: Items and videos.
        users: The kept users.
        pages: Columns of the pages' table, row by row.
    """

    def __init__(self, directory: str | Path) -> None:
        """Opens the truth of a log.

        Args:
            directory: Directory that `prepare_shop` made.

        Raises:
            FileNotFoundError: If there is no truth beside the log.
        """
        self.path = Path(directory)
        self.world = World.load(self.path / "truth" / "world")
        self.config = load_config(self.path / "truth" / "world")
        parts = sorted(Path(self.path, "truth", "pages").glob("*.parquet"))
        if not parts:
            raise FileNotFoundError(
                f"`{self.path}/truth/pages` holds no page: the shop was made with "
                f"`truth_users=0`. Make it again with some users' truth."
            )
        self._shards = {int(path.stem.split("-")[1]) for path in parts}
        self.users, _ = Users.read(self.path / "truth" / "users")
        table = pa.concat_tables([read_table(path) for path in parts])
        self.pages = {name: _array(table.column(name)) for name in table.column_names}
        self._page_ids = pc.cast(table.column("page_id"), pa.int64()).to_numpy()

    def things(self, kind: str) -> int:
        """Returns how many items or videos there are."""
        return len(getattr(self.world, f"{kind}_id"))

    def rows_of(self, kind: str, ids: Ints) -> Ints:
        """Returns the rows of the items or videos that the log knows by numbers `ids`."""
        numbers = getattr(self.world, f"{kind}_id")
        row = np.empty(len(numbers) + 1, np.int64)
        row[numbers] = np.arange(len(numbers))
        return row[ids]

    def intent(self, page: Ints) -> utility.Intent:
        """Returns what was wanted on pages (rows of `pages`)."""
        names = (field.name for field in dataclasses.fields(utility.Intent))
        return utility.Intent(**{name: self.pages[name][page] for name in names})

    def awake(self, page: Ints) -> np.ndarray:
        """Returns which of the user's interests were in an active spell on pages [n, K]."""
        return (self.pages["awake"][page, None] >> np.arange(MAX_INTERESTS)) & 1 > 0

    def request(self, page: Ints) -> Request:
        """Returns what the logging policy knew on pages."""
        entry, time, leaf, use, brand, recent, memory, clicked = (
            self.pages[name][page]
            for name in (
                *("entry", "time", "leaf", "use", "brand", "recent"),
                *("memory_item", "clicked_item"),
            )
        )
        mind = np.where((entry == VIDEO)[:, None], clicked, memory)
        return make_request(self.world, entry, time, (leaf, use, brand), recent, mind)

    def parts(
        self, kind: str, page: Ints, things: Ints, users: Users | None = None
    ) -> dict[str, Floats]:
        """Returns the parts of the utility of `things` [n, C] on pages [n].

        Args:
            kind: `item` or `video`.
            page: [n] rows of `pages`.
            things: [n, C] rows of items or videos.
            users: Stand-ins for the true users, for negative controls.

        Returns:
            Arrays [n, C] by the names in `utility.PARTS`.
        """
        blocks = [
            utility.parts_of(
                kind,
                self.world,
                users or self.users,
                self.intent(page[start : start + _BLOCK]),
                things[start : start + _BLOCK],
                self.config.span,
            )
            for start in range(0, len(page), _BLOCK)
        ]
        return {name: np.concatenate([b[name] for b in blocks]) for name in utility.PARTS}

    @functools.cached_property
    def events(self) -> pa.Table:
        """The kept users' events, with `page_row` and `thing` (row of the item or video)."""
        log = EventLog(self.path)
        pieces = []
        for path in log.events_files():
            if int(path.stem.split("-")[1]) not in self._shards:
                continue
            table = read_table(path, columns=list(_COLUMNS))
            user = pc.cast(table.column("user_id"), pa.int64())
            pieces.append(table.filter(pc.less_equal(user, len(self.users.join))))
        table = pa.concat_tables(pieces)
        page = pc.cast(table.column("page_id"), pa.int64()).to_numpy()
        order = np.argsort(self._page_ids, kind="stable")
        row = order[np.searchsorted(self._page_ids[order], page)]
        ids = pc.cast(table.column("entity_id"), pa.int64()).to_numpy()
        is_video = self.pages["entry"][row] == VIDEO
        thing = np.empty(len(ids), np.int64)
        thing[is_video] = self.rows_of("video", ids[is_video])
        thing[~is_video] = self.rows_of("item", ids[~is_video])
        return table.append_column("page_row", pa.array(row)).append_column(
            "thing", pa.array(thing)
        )

    def impressions(self, kind: str) -> Impressions:
        """Returns what the kept pages of items (or videos) showed, and what was chosen."""
        of_kind = pc.equal(self.events.column("entity_type"), kind)
        shown = self._positions(pc.and_(of_kind, self._is(IMPRESSION)))
        chosen = self._positions(pc.and_(of_kind, self._is(POSITIVE[kind])))
        width = int(shown[1].max()) + 1
        page = np.unique(shown[0])
        things = np.full((len(page), width), -1, np.int64)
        things[np.searchsorted(page, shown[0]), shown[1]] = shown[2]
        hit = np.zeros(things.shape, bool)
        hit[np.searchsorted(page, chosen[0]), chosen[1]] = True
        return Impressions(page, things, hit)

    def since(self, event: str, page: Ints, things: Ints, counted_as: Ints | None = None) -> Floats:
        """Returns how long ago users did something to things, going by the log.

        Args:
            event: `click`, `watch` or another type of event.
            page: [n] rows of `pages`.
            things: [n, C] rows of items or videos, -1 for none.
            counted_as: [N, m] rows that an event with each thing counts for, -1 for none;
                itself by default. A watch may count for the items that the video showed.

        Returns:
            [n, C] days from the last such event to the page; infinite if there was none.
        """
        log = self.events.filter(self._is(event))
        rows, thing = log.column("page_row").to_numpy(), log.column("thing").to_numpy()
        time = log.column("timestamp").to_numpy() - self.config.start_time
        if counted_as is not None:
            event_row, place = np.nonzero(counted_as[thing] >= 0)
            thing = counted_as[thing[event_row], place]
            rows, time = rows[event_row], time[event_row]
        # One number orders by user, thing and millisecond.
        span, count = self.config.span // _MILLISECOND + 1, int(max(thing.max(), things.max())) + 2
        pair = self.pages["user"][rows] * count + thing
        done = np.append(-1, np.sort(pair * span + time // _MILLISECOND))
        pair = self.pages["user"][page][:, None] * count + np.where(things < 0, count - 1, things)
        key = pair * span + (self.pages["time"][page] // _MILLISECOND)[:, None]
        last = done[np.searchsorted(done, key, side="right") - 1]
        return np.where(last >= pair * span, (key - last) * (_MILLISECOND / DAY), np.inf)

    def last_choices(self, kind: str, limit: int) -> tuple[Ints, Ints]:
        """Returns page and thing of the last click (or watch) of up to `limit` users."""
        of_kind = pc.equal(self.events.column("entity_type"), kind)
        table = self.events.filter(pc.and_(of_kind, self._is(POSITIVE[kind])))
        page, thing = table.column("page_row").to_numpy(), table.column("thing").to_numpy()
        user = self.pages["user"][page]
        order = np.lexsort((table.column("timestamp").to_numpy(), user))
        last = order[np.append(np.flatnonzero(np.diff(user[order])), len(order) - 1)]
        return page[last][:limit], thing[last][:limit]

    def _is(self, event: str) -> pa.ChunkedArray:
        return pc.equal(self.events.column("event"), event)

    def _positions(self, where: pa.ChunkedArray) -> tuple[Ints, Ints, Ints]:
        table = self.events.filter(where)
        page, position, thing = (
            table.column(name).to_numpy() for name in ("page_row", "position", "thing")
        )
        return page, position.astype(np.int64), thing


def _array(column: pa.ChunkedArray) -> np.ndarray:
    """Returns a column as an array [rows] or, of fixed lists, [rows, length]."""
    if pa.types.is_fixed_size_list(column.type):
        flat = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks])
        return flat.reshape(-1, column.type.list_size)
    return column.to_numpy()
