"""Plays the planned sessions: pages are shown, users click, watch, and buy.

All users of a shard take their next step at once, so that the work is in
array operations and only the number of steps of the busiest user is looped
over.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field

import numpy as np
from numpy.typing import NDArray

from tfx_pipeline.datasets.shop import utility
from tfx_pipeline.datasets.shop.config import ShopConfig
from tfx_pipeline.datasets.shop.policy import NAVIGATE
from tfx_pipeline.datasets.shop.policy import SEARCH
from tfx_pipeline.datasets.shop.policy import VIDEO
from tfx_pipeline.datasets.shop.policy import Request
from tfx_pipeline.datasets.shop.policy import choose
from tfx_pipeline.datasets.shop.policy import draw_pool
from tfx_pipeline.datasets.shop.policy import make_request
from tfx_pipeline.datasets.shop.policy import ranker_score
from tfx_pipeline.datasets.shop.sessions import Plan
from tfx_pipeline.datasets.shop.shelf import Shelf
from tfx_pipeline.datasets.shop.state import Memory
from tfx_pipeline.datasets.shop.users import Users
from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import Ints
from tfx_pipeline.datasets.shop.world import World

PAGE = 10  # impressions of items on a page
SLATE = 6  # impressions of videos
PLACES = {"item": PAGE, "video": SLATE}
POOL = 40  # candidates behind a page
MEMORY_SLOTS = 24
RECENT = 6

CLICKED, CARTED, BOUGHT, WATCHED = 1, 2, 4, 8

CLICK_STRENGTH = 0.7  # a click makes one come back
BUY_STRENGTH = -4.0  # what one has is not bought again
WATCH_STRENGTH = 1.6  # an item shown in a video that was watched to its end
AGAIN_STRENGTH = -2.5  # a watched video is not watched again
INSPIRED = 0.35  # of the sessions after a watch are about an item that it showed


@dataclass
class Pages:
    """What the shop logged and what was behind it; row t is step t of the plan.

    Attributes:
        shown: [T, PAGE] rows of items or videos, -1 where fewer were shown.
        outcome: [T, PAGE] sum of CLICKED, CARTED, BOUGHT, WATCHED.
        watched: [T, PAGE] watched fraction.
        focus_leaf, focus_use: [T] what the session was about.
        leaf, use, brand: [T] what the query or the place said, -1 for nothing.
        memory_item, memory_strength: [kept, MEMORY_SLOTS] for the first steps only:
            items or videos on the user's mind, as the page shows them.
        recent: [kept, RECENT] items lately clicked or seen in a video.
    """

    shown: NDArray[np.int32]
    outcome: NDArray[np.uint8]
    watched: NDArray[np.float32]
    focus_leaf: NDArray[np.int16]
    focus_use: NDArray[np.int16]
    leaf: NDArray[np.int16]
    use: NDArray[np.int16]
    brand: NDArray[np.int32]
    memory_item: NDArray[np.int32]
    memory_strength: NDArray[np.float32]
    recent: NDArray[np.int32]

    @classmethod
    def empty(cls, steps: int, kept: int) -> Pages:
        """Makes room for `steps` steps, the first `kept` with their memories."""
        few = {"focus_leaf": np.int16, "focus_use": np.int16, "leaf": np.int16, "use": np.int16}
        return cls(
            shown=np.full((steps, PAGE), -1, np.int32),
            outcome=np.zeros((steps, PAGE), np.uint8),
            watched=np.zeros((steps, PAGE), np.float32),
            brand=np.full(steps, -1, np.int32),
            memory_item=np.full((kept, MEMORY_SLOTS), -1, np.int32),
            memory_strength=np.zeros((kept, MEMORY_SLOTS), np.float32),
            recent=np.full((kept, RECENT), -1, np.int32),
            **{name: np.full(steps, -1, kind) for name, kind in few.items()},
        )


@dataclass
class Simulation:
    """One shard's users, with all that changes while they use the shop."""

    rng: np.random.Generator
    world: World
    users: Users
    plan: Plan
    config: ShopConfig
    items: Shelf
    videos: Shelf
    kept: int
    pages: Pages = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.users.join)
        self.pages = Pages.empty(len(self.plan.time), self.kept)
        self._items = Memory(n, MEMORY_SLOTS)
        self._watched = Memory(n, MEMORY_SLOTS)
        self._shown = Memory(n, POOL)  # in this session
        self._recent = Memory(n, RECENT)  # items of clicks and watches, for the policy
        self._focus_leaf = np.zeros(n, np.int64)
        self._focus_use = np.zeros(n, np.int64)

    def run(self) -> Pages:
        """Plays all steps."""
        order = np.argsort(self.plan.turn, kind="stable")
        ends = np.searchsorted(self.plan.turn[order], np.arange(self.plan.turn.max() + 2))
        for first, last in zip(ends[:-1], ends[1:], strict=True):
            steps = order[first:last]  # one a user, in the users' order
            self._begin_sessions(steps[self.plan.index[steps] == 0])
            is_video = self.plan.page_entry[steps] == VIDEO
            self._item_pages(steps[~is_video])
            self._video_pages(steps[is_video])
        return self.pages

    def _begin_sessions(self, steps: Ints) -> None:
        """Sets what new sessions are about: an interest, or what a video made one want."""
        session = self.plan.session[steps]
        user = self.plan.user[session]
        self._shown.forget(user)
        leaf, use = self.plan.focus_leaf[session], self.plan.focus_use[session]
        slot = self.rng.integers(0, MEMORY_SLOTS, len(user))
        strength = self._items.strength(user, self.plan.time[steps])[np.arange(len(user)), slot]
        item = self._items.things[user, slot]
        inspired = (strength > 0.3) & (self.rng.random(len(user)) < INSPIRED)
        self._focus_leaf[user] = np.where(inspired, self.world.item_leaf[item], leaf)
        self._focus_use[user] = np.where(inspired, self.world.item_use[item], use)

    def _intent(self, steps: Ints, memory: Memory) -> utility.Intent:
        session, time = self.plan.session[steps], self.plan.time[steps]
        user = self.plan.user[session]
        return utility.Intent(
            user=user,
            interest=self.plan.interest[session],
            time=time,
            focus_leaf=self._focus_leaf[user],
            focus_use=self._focus_use[user],
            memory_item=memory.things[user],
            memory_strength=memory.strength(user, time),
        )

    def _request(self, steps: Ints, intent: utility.Intent) -> Request:
        """Says what the policy is told, and notes it."""
        entry, session = self.plan.page_entry[steps], self.plan.session[steps]
        search = entry == SEARCH
        asked = search | (entry == NAVIGATE)
        named = search & (self.plan.query_brand[session] > 0)
        named &= intent.focus_leaf == self.plan.focus_leaf[session]
        leaf = np.where(asked, intent.focus_leaf, -1)
        use = np.where(search & (self.plan.query_use[session] > 0), intent.focus_use, -1)
        brand = self.users.interest_brand[intent.user, intent.interest]
        brand = np.where(named, brand, -1)
        recent = self._recent.things[intent.user]
        pages = self.pages
        pages.focus_leaf[steps], pages.focus_use[steps] = intent.focus_leaf, intent.focus_use
        pages.leaf[steps], pages.use[steps], pages.brand[steps] = leaf, use, brand
        keep = steps < self.kept
        pages.memory_item[steps[keep]] = intent.memory_item[keep]
        pages.memory_strength[steps[keep]] = intent.memory_strength[keep]
        pages.recent[steps[keep]] = recent[keep]
        said = (leaf, use, brand)
        return make_request(self.world, entry, intent.time, said, recent, intent.memory_item)

    def _show(self, steps: Ints, intent: utility.Intent, shelf: Shelf, size: int) -> Ints:
        """Draws a pool, ranks it, and returns what is shown [n, size]."""
        request = self._request(steps, intent)
        pool = draw_pool(self.rng, shelf, request, POOL)
        if shelf is self.items:
            just = self._shown.things[intent.user]
            pool = np.where((pool[:, :, None] == just[:, None, :]).any(axis=2), -1, pool)
        table = self.world.item_topic if shelf is self.items else self.world.video_topic
        wanted = utility.intent_topic(self.world, self.users, intent, self.config.span)
        topic = np.einsum("ncd,nd->nc", table[pool], wanted)
        shown = choose(self.rng, pool, ranker_score(shelf, request, topic, pool), size)
        self.pages.shown[steps, :size] = shown
        return shown

    def _parts(self, kind: str, intent: utility.Intent, shown: Ints) -> dict[str, Floats]:
        return utility.parts_of(kind, self.world, self.users, intent, shown, self.config.span)

    def _item_pages(self, steps: Ints) -> None:
        if not len(steps):
            return
        intent = self._intent(steps, self._items)
        shown = self._show(steps, intent, self.items, PAGE)
        parts = self._parts("item", intent, shown)
        draw = self.rng.random((3, *shown.shape))
        clicked = (draw[0] < utility.choice("item", parts)) & (shown >= 0)
        carted = clicked & (draw[1] < utility.cart(parts))
        bought = carted & (draw[2] < utility.buy(parts))
        outcome = CLICKED * clicked + CARTED * carted + BOUGHT * bought
        self.pages.outcome[steps] = outcome
        row, column = np.nonzero(shown >= 0)
        zeros = np.zeros(len(row))
        self._shown.add(intent.user[row], shown[row, column], zeros, intent.time[row])
        row, column = np.nonzero(clicked)
        strength = np.where(bought[row, column], BUY_STRENGTH, CLICK_STRENGTH)
        self._items.add(intent.user[row], shown[row, column], strength, intent.time[row])
        self._recent.add(intent.user[row], shown[row, column], strength, intent.time[row])

    def _video_pages(self, steps: Ints) -> None:
        if not len(steps):
            return
        intent = self._intent(steps, self._watched)
        shown = self._show(steps, intent, self.videos, SLATE)
        parts = self._parts("video", intent, shown)
        draw = self.rng.random(shown.shape)
        watched = (draw < utility.choice("video", parts)) & (shown >= 0)
        noise = self.rng.standard_normal(shown.shape)
        fraction = np.where(watched, utility.watched_fraction(parts, noise), 0.0)
        self.pages.outcome[steps, :SLATE] = WATCHED * watched
        self.pages.watched[steps, :SLATE] = fraction
        row, column = np.nonzero(watched)
        user, time, video = intent.user[row], intent.time[row], shown[row, column]
        self._watched.add(user, video, np.full(len(row), AGAIN_STRENGTH), time)
        self._remember_items(user, time, video, fraction[row, column])

    def _remember_items(self, user: Ints, time: Ints, video: Ints, fraction: Floats) -> None:
        """Raises the interest in the items that watched videos showed."""
        items = self.world.video_items[video]
        row, column = np.nonzero(items >= 0)
        strength = WATCH_STRENGTH * fraction[row]
        self._items.add(user[row], items[row, column], strength, time[row])
        self._recent.add(user, items[:, 0], fraction, time)
