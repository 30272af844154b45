"""Draws the shop's videos, each of which shows a few items of a theme."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfx_pipeline.datasets.shop.config import ShopConfig
from tfx_pipeline.datasets.shop.popularity import draw_popularity
from tfx_pipeline.datasets.shop.world import LEAF_DIM
from tfx_pipeline.datasets.shop.world import MAX_SHOWN
from tfx_pipeline.datasets.shop.world import STYLE_DIM
from tfx_pipeline.datasets.shop.world import USE_DIM
from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import Ints
from tfx_pipeline.datasets.shop.world import periods
from tfx_pipeline.datasets.shop.world import settle
from tfx_pipeline.datasets.shop.world import unit

VIDEOS_PER_CREATOR = 12
OLD_SHARE = 0.5  # of the videos are there when the log starts
_POOL = 48  # items that are looked at for a video
_BLOCK = 4_096


def draw_videos(
    rng: np.random.Generator, fields: dict[str, Any], config: ShopConfig
) -> dict[str, Any]:
    """Draws the videos.

    A video starts from one item, takes up to four more that are near to it in
    topic and style, and comes out after the last of them was launched. Half of
    the videos show old items alone and are out before the log begins.

    Args:
        rng: Source of randomness.
        fields: What is known of the world so far.
        config: Size of the shop.

    Returns:
        The fields `video_*` of the world.
    """
    n = config.n_videos
    old = rng.random(n) < OLD_SHARE
    shown = _draw_shown(rng, fields, old)
    valid = shown >= 0
    first = shown[:, 0]
    creators = max(8, n // VIDEOS_PER_CREATOR)
    skill = rng.standard_normal(creators)
    creator = np.floor(creators * rng.random(n) ** 1.7).astype(np.int64)
    quality = settle(0.6 * skill[creator] + 0.8 * rng.standard_normal(n))
    style = _mean(fields["item_style"], shown) + 0.5 * rng.standard_normal((n, STYLE_DIM))
    topic = _mean(fields["item_topic"], shown)
    topic = np.concatenate([unit(topic[:, :LEAF_DIM]), unit(topic[:, LEAF_DIM:])], axis=1)
    ready = np.where(valid, fields["item_launch"][shown], np.iinfo(np.int64).min).max(axis=1)
    begin = np.where(old, ready, np.maximum(ready, 0))
    room = np.maximum(np.where(old, 0.0, 0.9 * config.span) - begin, 0)
    launch = begin + (rng.random(n) * room).astype(np.int64)
    leaf, use = fields["item_leaf"][first], fields["item_use"][first]
    popularity, weight = draw_popularity(rng, launch, leaf, use, quality, periods(config))
    return {
        "video_items": shown,
        "video_leaf": leaf,
        "video_use": use,
        "video_creator": creator,
        "video_topic": settle(topic),
        "video_style": settle(style / style.std()),
        "video_quality": quality,
        "video_launch": launch,
        "video_id": 1 + rng.permutation(n),
        "video_popularity": popularity,
        "video_weight": weight,
    }


def _draw_shown(rng: np.random.Generator, fields: dict[str, Any], old: np.ndarray) -> Ints:
    """Draws the items of each video [V, MAX_SHOWN], padded with -1; old ones show old items."""
    n = len(old)
    # Popular items are shown more often, but every item may be.
    weight = np.sqrt(fields["item_weight"][0])
    place, first = rng.random(n), np.zeros(n, np.int64)
    for chosen, may in ((old, fields["item_launch"] < 0), (~old, np.ones(len(weight), bool))):
        sums = np.cumsum(weight * may)
        first[chosen] = np.searchsorted(sums, place[chosen] * sums[-1], side="right")
    count = 1 + rng.integers(0, MAX_SHOWN, n)
    shown = np.full((n, MAX_SHOWN), -1, np.int64)
    for start in range(0, n, _BLOCK):
        rows = slice(start, min(start + _BLOCK, n))
        shown[rows] = _companions(rng, fields, first[rows], old[rows])
    shown[np.arange(MAX_SHOWN) >= count[:, None]] = -1
    return shown


def _companions(
    rng: np.random.Generator, fields: dict[str, Any], first: Ints, old: np.ndarray
) -> Ints:
    """Returns [V, MAX_SHOWN]: the first items and what goes best with them, -1 for none."""
    n_items = len(fields["item_leaf"])
    # Half of the pool comes from the department (leaves are numbered by it).
    by_leaf = np.argsort(fields["item_leaf"], kind="stable")
    place = np.empty(n_items, np.int64)
    place[by_leaf] = np.arange(n_items)
    reach = max(8, n_items // 10)
    offset = rng.integers(-reach, reach + 1, (len(first), _POOL // 2))
    near = by_leaf[np.clip(place[first][:, None] + offset, 0, n_items - 1)]
    far = rng.integers(0, n_items, (len(first), _POOL - _POOL // 2))
    pool = np.concatenate([near, far], axis=1)
    weights = np.concatenate([np.full(LEAF_DIM, 1.0), np.full(USE_DIM, 2.0)])
    topic = np.einsum(
        "vpd,vd->vp", fields["item_topic"][pool], fields["item_topic"][first] * weights
    )
    style = np.einsum("vpd,vd->vp", fields["item_style"][pool], fields["item_style"][first])
    # An item is shown once: repeats of a pool's item (and of the first) are out.
    order = np.argsort(pool, axis=1, kind="stable")
    ranked = np.take_along_axis(pool, order, axis=1)
    repeated = np.zeros(pool.shape, bool)
    np.put_along_axis(repeated, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], axis=1)
    out = repeated | (pool == first[:, None])
    out |= old[:, None] & (fields["item_launch"][pool] >= 0)
    score = np.where(out, -np.inf, topic + 0.15 * style)
    best = np.argsort(-score, axis=1, kind="stable")[:, : MAX_SHOWN - 1]
    found = np.where(np.take_along_axis(out, best, axis=1), -1, np.take_along_axis(pool, best, 1))
    return np.concatenate([first[:, None], found], axis=1)


def _mean(values: Floats, shown: Ints) -> Floats:
    """Averages rows of the shown items; `shown` is [V, MAX_SHOWN], -1 for none."""
    valid = (shown >= 0)[:, :, None]
    return (values[shown] * valid).sum(axis=1) / valid.sum(axis=1)
