"""Plays the planned sessions: pages are shown, users click, watch, and buy.

All users of a shard take their next step at once, so that the work is in
array operations and only the number of steps of the busiest user is looped
over.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field

import numpy as np

from tfx_pipeline.datasets.shop import utility
from tfx_pipeline.datasets.shop.config import ShopConfig
from tfx_pipeline.datasets.shop.pages import BOUGHT
from tfx_pipeline.datasets.shop.pages import CARTED
from tfx_pipeline.datasets.shop.pages import CLICKED
from tfx_pipeline.datasets.shop.pages import MEMORY_SLOTS
from tfx_pipeline.datasets.shop.pages import PLACES
from tfx_pipeline.datasets.shop.pages import RECENT
from tfx_pipeline.datasets.shop.pages import SLATE
from tfx_pipeline.datasets.shop.pages import WATCHED
from tfx_pipeline.datasets.shop.pages import Pages
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

POOL = 40  # candidates behind a page

CLICK_STRENGTH = 0.7  # a click makes one come back
BUY_STRENGTH = -4.0  # what one has is not bought again
WATCH_STRENGTH = 1.6  # an item shown in a video that was watched to its end
AGAIN_STRENGTH = -2.5  # a watched video is not watched again
SHOWS_STRENGTH = 1.5  # a video that shows a clicked item
INSPIRED = 0.35  # of the sessions after a watch are about an item that it showed


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
        self._clicked = Memory(n, MEMORY_SLOTS)
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
        row, slot = np.arange(len(user)), self.rng.integers(0, MEMORY_SLOTS, len(user))
        items, strengths = self._items.at(user, self.plan.time[steps])
        item, strength = items[row, slot], strengths[row, slot]
        inspired = (strength > 0.3) & (self.rng.random(len(user)) < INSPIRED)
        self._focus_leaf[user] = np.where(inspired, self.world.item_leaf[item], leaf)
        self._focus_use[user] = np.where(inspired, self.world.item_use[item], use)

    def _intent(self, steps: Ints, kind: str) -> utility.Intent:
        session, time = self.plan.session[steps], self.plan.time[steps]
        user = self.plan.user[session]
        if kind == "item":
            things, strength = self._items.at(user, time)
            clicked, shows = np.full_like(things, -1), np.zeros_like(strength)
        else:
            things, strength = self._watched.at(user, time)
            clicked, shows = self._clicked.at(user, time)
        return utility.Intent(
            user=user,
            interest=self.plan.interest[session],
            time=time,
            focus_leaf=self._focus_leaf[user],
            focus_use=self._focus_use[user],
            memory_item=things,
            memory_strength=strength,
            clicked_item=clicked,
            clicked_strength=shows,
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
        recent = self._recent.things(intent.user, intent.time)
        pages = self.pages
        pages.focus_leaf[steps], pages.focus_use[steps] = intent.focus_leaf, intent.focus_use
        pages.leaf[steps], pages.use[steps], pages.brand[steps] = leaf, use, brand
        keep = steps < self.kept
        for name in ("memory_item", "memory_strength", "clicked_item", "clicked_strength"):
            getattr(pages, name)[steps[keep]] = getattr(intent, name)[keep]
        pages.recent[steps[keep]] = recent[keep]
        mind = np.where((entry == VIDEO)[:, None], intent.clicked_item, intent.memory_item)
        return make_request(self.world, entry, intent.time, (leaf, use, brand), recent, mind)

    def _show(
        self, steps: Ints, intent: utility.Intent, kind: str
    ) -> tuple[Ints, dict[str, Floats]]:
        """Draws a pool, ranks it, and returns what is shown [n, PLACES], and why it is liked."""
        shelf = self.items if kind == "item" else self.videos
        request = self._request(steps, intent)
        pool = draw_pool(self.rng, shelf, request, POOL)
        if shelf is self.items:
            just = self._shown.things(intent.user, intent.time)
            pool = np.where((pool[:, :, None] == just[:, None, :]).any(axis=2), -1, pool)
        span = self.config.span
        wanted = utility.intent_topic(self.world, self.users, intent, span)
        topic = np.einsum("ncd,nd->nc", getattr(self.world, f"{kind}_topic")[pool], wanted)
        score = ranker_score(shelf, request, topic, pool)
        shown = choose(self.rng, pool, score, PLACES[kind])
        self.pages.shown[steps, : PLACES[kind]] = shown
        parts = utility.parts_of(kind, self.world, self.users, intent, shown, span, wanted)
        return shown, parts

    def _item_pages(self, steps: Ints) -> None:
        if not len(steps):
            return
        intent = self._intent(steps, "item")
        shown, parts = self._show(steps, intent, "item")
        draw = self.rng.random((3, *shown.shape))
        clicked = (draw[0] < utility.choice("item", parts)) & (shown >= 0)
        carted = clicked & (draw[1] < utility.cart(parts))
        bought = carted & (draw[2] < utility.buy(parts))
        pages = self.pages
        pages.outcome[steps] = CLICKED * clicked + CARTED * carted + BOUGHT * bought
        pages.wait[steps] = self._wait(shown)
        pages.to_cart[steps] = self.rng.integers(5, 60, shown.shape)
        pages.to_purchase[steps] = self.rng.integers(5, 240, shown.shape)
        row, column = np.nonzero(shown >= 0)
        self._shown.add(intent.user[row], shown[row, column], np.zeros(len(row)), intent.time[row])
        row, column = np.nonzero(clicked)
        user, item, time = intent.user[row], shown[row, column], intent.time[row]
        time = time + pages.until(CLICKED, steps[row], column)
        strength = np.ones(len(row))
        self._items.add(user, item, CLICK_STRENGTH * strength, time)
        self._clicked.add(user, item, SHOWS_STRENGTH * strength, time)
        self._recent.add(user, item, strength, time)
        row, column = np.nonzero(bought)
        user, item, time = intent.user[row], shown[row, column], intent.time[row]
        time = time + pages.until(BOUGHT, steps[row], column)
        self._items.add(user, item, np.full(len(row), BUY_STRENGTH), time)

    def _wait(self, shown: Ints) -> Ints:
        """Draws the seconds until each place of pages [n, C] is clicked or watched."""
        return self.rng.integers(1, 20, shown.shape) + 2 * np.arange(shown.shape[1])

    def _video_pages(self, steps: Ints) -> None:
        if not len(steps):
            return
        intent = self._intent(steps, "video")
        shown, parts = self._show(steps, intent, "video")
        draw = self.rng.random(shown.shape)
        watched = (draw < utility.choice("video", parts)) & (shown >= 0)
        noise = self.rng.standard_normal(shown.shape)
        fraction = np.where(watched, utility.watched_fraction(parts, noise), 0.0)
        pages = self.pages
        pages.outcome[steps, :SLATE] = WATCHED * watched
        pages.watched[steps, :SLATE] = np.rint(100 * fraction)
        pages.wait[steps, :SLATE] = self._wait(shown)
        row, column = np.nonzero(watched)
        user, video = intent.user[row], shown[row, column]
        time = intent.time[row] + pages.until(WATCHED, steps[row], column)
        self._watched.add(user, video, np.full(len(row), AGAIN_STRENGTH), time)
        self._remember_items(user, time, video, fraction[row, column])

    def _remember_items(self, user: Ints, time: Ints, video: Ints, fraction: Floats) -> None:
        """Raises the interest in the items that watched videos showed."""
        items = self.world.video_items[video]
        row, column = np.nonzero(items >= 0)
        strength = WATCH_STRENGTH * fraction[row]
        self._items.add(user[row], items[row, column], strength, time[row])
        self._recent.add(user, items[:, 0], fraction, time)
