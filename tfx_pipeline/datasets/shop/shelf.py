"""Items and videos in the orders in which a logging policy draws from them."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field

import numpy as np

from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import Ints
from tfx_pipeline.datasets.shop.world import World
from tfx_pipeline.datasets.shop.world import period_of


@dataclass(frozen=True)
class Shelf:
    """Items or videos as a policy sees them.

    Things are drawn by popularity from a group: 0 is everything, then come the
    leaves, then the uses. G groups, N things, P periods.

    Attributes:
        leaf, use, brand, launch: [N] as in `World`; videos have the brand -2.
        popularity, weight: [P, N] standardised log popularity, and the weights.
        n_leaves, n_uses: How many leaves and uses there are.
        reminder_start, reminders: Things of the shelf that an item brings to mind: item i
            those from reminder_start[i] to reminder_start[i + 1].
        by_launch: [N] the order of launches.
        launches: [N] sorted launches.
    """

    leaf: Ints
    use: Ints
    brand: Ints
    launch: Ints
    popularity: Floats
    weight: Floats
    n_leaves: int
    n_uses: int
    reminder_start: Ints
    reminders: Ints
    by_launch: Ints = field(init=False)
    launches: Ints = field(init=False)
    _order: Ints = field(init=False)  # [2 N] by leaf, then again by use
    _start: Ints = field(init=False)  # [G] where a group begins in the order, and ends
    _end: Ints = field(init=False)
    _sums: Floats = field(init=False)  # [P (2 N + 1)] running weights over the order, rising

    def __post_init__(self) -> None:
        n = len(self.leaf)
        by_leaf, by_use = (np.argsort(of, kind="stable") for of in (self.leaf, self.use))
        leaves = np.searchsorted(self.leaf[by_leaf], np.arange(self.n_leaves + 1))
        uses = n + np.searchsorted(self.use[by_use], np.arange(self.n_uses + 1))
        order = np.concatenate([by_leaf, by_use])
        sums = np.zeros((len(self.weight), len(order) + 1))
        np.cumsum(self.weight[:, order], axis=1, out=sums[:, 1:])
        # A period's sums end where the next one's begin, so that one search serves all.
        sums = sums / sums[:, -1:] + np.arange(len(sums))[:, None]
        by_launch = np.argsort(self.launch, kind="stable")
        for name, value in (
            ("by_launch", by_launch),
            ("launches", self.launch[by_launch]),
            ("_order", order),
            ("_start", np.concatenate([[0], leaves[:-1], uses[:-1]])),
            ("_end", np.concatenate([[n], leaves[1:], uses[1:]])),
            ("_sums", sums.reshape(-1)),
        ):
            object.__setattr__(self, name, value)

    def group(self, leaf: Ints | None = None, use: Ints | None = None) -> Ints:
        """Returns the groups of leaves or of uses; everything for -1 and where there is none."""
        asked = leaf if leaf is not None else use
        assert asked is not None
        group = np.where(asked < 0, 0, 1 + asked + (self.n_leaves if leaf is None else 0))
        return np.where(self._end[group] > self._start[group], group, 0)

    def mass(self, time: Ints) -> Floats:
        """Returns the share [n, G] of each group in the popularity weights at times [n]."""
        at = (period_of(time) * (len(self._order) + 1))[:, None]
        # The order holds everything twice.
        return 2 * (self._sums[at + self._end] - self._sums[at + self._start])

    def draw(self, group: Ints, time: Ints, place: Floats) -> Ints:
        """Draws things by popularity.

        Args:
            group: [n] groups, none of them empty.
            time: [n] microseconds since the log's start.
            place: [n] even random numbers.

        Returns:
            [n] things.
        """
        low, high = self._start[group], self._end[group]
        at = period_of(time) * (len(self._order) + 1)
        bottom, top = self._sums[at + low], self._sums[at + high]
        found = np.searchsorted(self._sums, bottom + place * (top - bottom), side="right") - 1
        return self._order[np.clip(found - at, low, high - 1)]

    def remind(self, items: Ints, place: Floats) -> Ints:
        """Returns one of the things that items [n] bring to mind, by even numbers; -1 for none."""
        first = self.reminder_start[items]
        count = np.where(items < 0, 0, self.reminder_start[items + 1] - first)
        row = first + (place * count).astype(np.int64)
        return np.where(count > 0, self.reminders[np.minimum(row, len(self.reminders) - 1)], -1)


def item_shelf(world: World) -> Shelf:
    """Returns the shelf of the items; each brings itself to mind."""
    n = len(world.item_leaf)
    return Shelf(
        world.item_leaf,
        world.item_use,
        world.item_brand,
        world.item_launch,
        world.item_popularity,
        world.item_weight,
        len(world.leaf_vector),
        len(world.use_vector),
        np.arange(n + 1),
        np.arange(n),
    )


def video_shelf(world: World) -> Shelf:
    """Returns the shelf of the videos; an item brings those that show it to mind."""
    video, place = np.nonzero(world.video_items >= 0)
    item = world.video_items[video, place]
    order = np.argsort(item, kind="stable")
    return Shelf(
        world.video_leaf,
        world.video_use,
        np.full(len(world.video_use), -2),
        world.video_launch,
        world.video_popularity,
        world.video_weight,
        len(world.leaf_vector),
        len(world.use_vector),
        np.searchsorted(item[order], np.arange(len(world.item_leaf) + 1)),
        video[order],
    )
