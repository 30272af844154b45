"""Items and videos in the orders in which a logging policy draws from them."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field

import numpy as np

from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import Ints
from tfx_pipeline.datasets.shop.world import World


@dataclass(frozen=True)
class Shelf:
    """Items or videos as a policy sees them.

    Attributes:
        leaf, use, brand, launch: [N] as in `World`; videos have the brand -2.
        popularity, weight: [P, N] standardised log popularity, and the weights.
        n_leaves, n_uses: How many leaves and uses there are.
        by_leaf, by_use, by_launch: [N] orders.
        leaf_start, use_start: where each leaf or use begins in its order.
        launches: [N] sorted launches.
        leaf_sums, use_sums: [P, N + 1] running popularity weights in these orders.
    """

    leaf: Ints
    use: Ints
    brand: Ints
    launch: Ints
    popularity: Floats
    weight: Floats
    n_leaves: int
    n_uses: int
    by_leaf: Ints = field(init=False)
    by_use: Ints = field(init=False)
    by_launch: Ints = field(init=False)
    leaf_start: Ints = field(init=False)
    use_start: Ints = field(init=False)
    launches: Ints = field(init=False)
    leaf_sums: Floats = field(init=False)
    use_sums: Floats = field(init=False)

    def __post_init__(self) -> None:
        for name, values in (("leaf", self.leaf), ("use", self.use), ("launch", self.launch)):
            object.__setattr__(self, f"by_{name}", np.argsort(values, kind="stable"))
        for name, groups in (("leaf", self.n_leaves), ("use", self.n_uses)):
            order = getattr(self, f"by_{name}")
            values = getattr(self, name)[order]
            start = np.searchsorted(values, np.arange(groups + 1))
            object.__setattr__(self, f"{name}_start", start)
            sums = np.cumsum(self.weight[:, order], axis=1)
            sums = np.concatenate([np.zeros((len(sums), 1)), sums], axis=1)
            object.__setattr__(self, f"{name}_sums", sums)
        object.__setattr__(self, "launches", self.launch[self.by_launch])


def item_shelf(world: World) -> Shelf:
    """Returns the shelf of the items."""
    return Shelf(
        world.item_leaf,
        world.item_use,
        world.item_brand,
        world.item_launch,
        world.item_popularity,
        world.item_weight,
        len(world.leaf_vector),
        len(world.use_vector),
    )


def video_shelf(world: World) -> Shelf:
    """Returns the shelf of the videos."""
    return Shelf(
        world.video_leaf,
        world.video_use,
        np.full(len(world.video_use), -2),
        world.video_launch,
        world.video_popularity,
        world.video_weight,
        len(world.leaf_vector),
        len(world.use_vector),
    )
