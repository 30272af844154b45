"""The truth of a simulated shop as vectors of users and items.

The utility of an item (`utility.py`) is, but for brand and memory and with no floor under the
price, the dot product of a vector of the user's interest and one of the item:

    topic + style + material - care (level - ideal)^2 + quality + popularity

up to a constant of the user. A user has a vector for each interest, and the interests' weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfx_pipeline.datasets.shop import utility
from tfx_pipeline.datasets.shop.sessions import interest_logits
from tfx_pipeline.datasets.shop.users import MAX_INTERESTS
from tfx_pipeline.datasets.shop.users import Users
from tfx_pipeline.datasets.shop.world import LEAF_DIM
from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import World
from tfx_pipeline.datasets.shop.world import load_config
from tfx_pipeline.datasets.shop.world import unit


def true_users(directory: str | Path) -> tuple[list[str], Floats, Floats]:
    """Returns what users want at the end of a log.

    Args:
        directory: Directory that `prepare_shop` made.

    Returns:
        Their ids, vectors [U, K, d] of their interests, and weights [U, K] that sum to one, 0
        where there is no interest.
    """
    world, span = World.load(_world(directory)), load_config(_world(directory)).span
    users, ids = Users.read(Path(directory, "truth", "users"))
    row = np.arange(len(ids))
    logits = interest_logits(users, row, np.full(len(ids), span), np.ones(1, bool), span)
    weight = np.exp(logits - logits.max(axis=1, keepdims=True))
    moved = users.drift[:, None, None]
    what = (1 - moved) * world.leaf_vector[users.interest_leaf]
    what = what + moved * world.leaf_vector[users.drift_leaf]
    what = unit(what + users.interest_personal[..., :LEAF_DIM])
    purpose = unit(world.use_vector[users.interest_use] + users.interest_personal[..., LEAF_DIM:])
    style = unit((1 - moved) * unit(users.style_from) + moved * unit(users.style_to))
    care, ideal = users.price_care, users.price_ideal
    fixed = np.column_stack(
        [utility.MATERIAL * users.material_taste, -care, 2 * care * ideal, np.ones((len(ids), 2))]
    )
    parts = [
        utility.WHAT * what,
        utility.PURPOSE * purpose,
        utility.STYLE * users.visual[:, None, None] * style,
        np.repeat(fixed[:, None], MAX_INTERESTS, axis=1),
    ]
    return ids, np.concatenate(parts, axis=2), weight / weight.sum(axis=1, keepdims=True)


def true_items(directory: str | Path) -> tuple[list[str], Floats]:
    """Returns what items are at the end of a log: their ids, and vectors [N, d]."""
    world = World.load(_world(directory))
    users, _ = Users.read(Path(directory, "truth", "users"))
    materials = users.material_taste.shape[1]
    level = world.item_price_level
    parts = [
        world.item_topic,
        world.leaf_visual[world.item_leaf][:, None] * world.item_style,
        np.eye(materials)[world.item_material],
        np.column_stack([level**2, level, utility.QUALITY * world.item_quality]),
        utility.POPULARITY * world.item_popularity[-1][:, None],
    ]
    return [str(number) for number in world.item_id], np.concatenate(parts, axis=1)


def _world(directory: str | Path) -> Path:
    return Path(directory, "truth", "world")
