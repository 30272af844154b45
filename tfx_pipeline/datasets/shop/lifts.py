"""Lifts of items after videos, and of videos after items, as the log shows them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfx_pipeline.datasets.shop import utility
from tfx_pipeline.datasets.shop.truth import Impressions
from tfx_pipeline.datasets.shop.truth import Truth
from tfx_pipeline.datasets.shop.utility import MEMORY_DAYS


@dataclass(frozen=True)
class Lift:
    """Choices among some impressions.

    Attributes:
        impressions: How many they are.
        share: Of all impressions.
        rate: Share of them that was chosen.
        expected: The share that the truth expects of users without any memory.
    """

    impressions: int
    share: float
    rate: float
    expected: float

    @property
    def ratio(self) -> float:
        """The rate over what was expected."""
        return self.rate / self.expected


def item_to_video(truth: Truth) -> Lift:
    """Measures videos that show an item clicked in the last days, never watched before."""
    seen = truth.impressions("video")
    items = truth.world.video_items[seen.things].reshape(len(seen.page), -1)
    clicked = truth.since("click", seen.page, items) < MEMORY_DAYS
    shows = clicked.reshape(*seen.things.shape, -1).any(axis=2)
    new = truth.since("watch", seen.page, seen.things) == np.inf
    return _lift("video", truth, seen, shows & new)


def video_to_item(truth: Truth) -> Lift:
    """Measures items that a video watched in the last days showed, never clicked before."""
    seen = truth.impressions("item")
    shown = truth.since("watch", seen.page, seen.things, truth.world.video_items) < MEMORY_DAYS
    new = truth.since("click", seen.page, seen.things) == np.inf
    return _lift("item", truth, seen, shown & new)


def _lift(kind: str, truth: Truth, seen: Impressions, which: np.ndarray) -> Lift:
    """Compares what was chosen of some impressions [n, C] with what was expected."""
    valid = seen.things >= 0
    which = which & valid
    parts = truth.parts(kind, seen.page, seen.things)
    expected = utility.choice(kind, {**parts, "memory": np.zeros_like(parts["memory"])})
    return Lift(
        impressions=int(which.sum()),
        share=float(which.sum() / valid.sum()),
        rate=float(seen.chosen[which].mean()),
        expected=float(expected[which].mean()),
    )
