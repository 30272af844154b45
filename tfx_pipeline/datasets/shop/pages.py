"""Logged pages, and the truth behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfx_pipeline.datasets.shop.config import MICROSECONDS
from tfx_pipeline.datasets.shop.world import Ints

PAGE = 10  # impressions of items on a page
SLATE = 6  # impressions of videos
PLACES = {"item": PAGE, "video": SLATE}
MEMORY_SLOTS = 24
RECENT = 6

CLICKED, CARTED, BOUGHT, WATCHED = 1, 2, 4, 8


@dataclass
class Pages:
    """The pages of a plan; row t is step t.

    Attributes:
        shown: [T, PAGE] rows of items or videos, -1 where fewer were shown.
        outcome: [T, PAGE] sum of CLICKED, CARTED, BOUGHT, WATCHED.
        watched: [T, PAGE] watched fraction in hundredths.
        wait: [T, PAGE] seconds from the page to a click or watch.
        to_cart, to_purchase: [T, PAGE] seconds from the click to the cart, and on.
        focus_leaf, focus_use: [T] what the session was about.
        leaf, use, brand: [T] what the query or the place said, -1 for nothing.
        memory_item, memory_strength: [kept, MEMORY_SLOTS] for the first steps only:
            items or videos on the user's mind, as the page shows them.
        clicked_item, clicked_strength: [kept, MEMORY_SLOTS] items lately clicked, on
            pages of videos.
        recent: [kept, RECENT] items lately clicked or seen in a video.
    """

    shown: NDArray[np.int32]
    outcome: NDArray[np.uint8]
    watched: NDArray[np.uint8]
    wait: NDArray[np.uint8]
    to_cart: NDArray[np.uint8]
    to_purchase: NDArray[np.uint8]
    focus_leaf: NDArray[np.int16]
    focus_use: NDArray[np.int16]
    leaf: NDArray[np.int16]
    use: NDArray[np.int16]
    brand: NDArray[np.int32]
    memory_item: NDArray[np.int32]
    memory_strength: NDArray[np.float32]
    clicked_item: NDArray[np.int32]
    clicked_strength: NDArray[np.float32]
    recent: NDArray[np.int32]

    @classmethod
    def empty(cls, steps: int, kept: int) -> Pages:
        """Makes room for `steps` steps, the first `kept` with their memories."""
        places, slots = (steps, PAGE), (kept, MEMORY_SLOTS)
        return cls(
            shown=np.full(places, -1, np.int32),
            outcome=np.zeros(places, np.uint8),
            watched=np.zeros(places, np.uint8),
            wait=np.zeros(places, np.uint8),
            to_cart=np.zeros(places, np.uint8),
            to_purchase=np.zeros(places, np.uint8),
            focus_leaf=np.full(steps, -1, np.int16),
            focus_use=np.full(steps, -1, np.int16),
            leaf=np.full(steps, -1, np.int16),
            use=np.full(steps, -1, np.int16),
            brand=np.full(steps, -1, np.int32),
            memory_item=np.full(slots, -1, np.int32),
            memory_strength=np.zeros(slots, np.float32),
            clicked_item=np.full(slots, -1, np.int32),
            clicked_strength=np.zeros(slots, np.float32),
            recent=np.full((kept, RECENT), -1, np.int32),
        )

    def until(self, outcome: int, step: Ints, position: Ints) -> Ints:
        """Returns the microseconds [n] from pages to what came of positions on them."""
        at = (step, position)
        seconds = self.wait[at].astype(np.int64)
        if outcome in (CARTED, BOUGHT):
            seconds += self.to_cart[at]
        if outcome == BOUGHT:
            seconds += self.to_purchase[at]
        return seconds * MICROSECONDS
