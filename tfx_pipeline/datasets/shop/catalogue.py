"""Draws the shop's categories, brands, items and videos."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfx_pipeline.datasets.shop import words
from tfx_pipeline.datasets.shop.config import DAY
from tfx_pipeline.datasets.shop.config import ShopConfig
from tfx_pipeline.datasets.shop.images import draw_looks
from tfx_pipeline.datasets.shop.popularity import draw_popularity
from tfx_pipeline.datasets.shop.videos import draw_videos
from tfx_pipeline.datasets.shop.world import LEAF_DIM
from tfx_pipeline.datasets.shop.world import STYLE_DIM
from tfx_pipeline.datasets.shop.world import USE_DIM
from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import Ints
from tfx_pipeline.datasets.shop.world import World
from tfx_pipeline.datasets.shop.world import periods
from tfx_pipeline.datasets.shop.world import settle
from tfx_pipeline.datasets.shop.world import unit

ITEMS_PER_BRAND = 60
OLD_SHARE = 0.55  # of the items are there when the log starts
_OLDEST_DAYS = 365
_PRICE_SPREAD = 0.45  # standard deviation of the log price within a leaf


def draw_world(config: ShopConfig) -> World:
    """Draws everything but the users. The same configuration gives the same world."""
    # First spawn key 0: the users' shards take the keys from 1 on.
    seeds = np.random.SeedSequence(config.seed, spawn_key=(0,)).spawn(6)
    rngs = [np.random.default_rng(seed) for seed in seeds]
    fields = _draw_taxonomy(rngs[0])
    fields |= _draw_brands(rngs[1], fields, config.n_items)
    fields |= _draw_items(rngs[2], fields, config)
    fields["item_popularity"], fields["item_weight"] = draw_popularity(
        rngs[3],
        fields["item_launch"],
        fields["item_leaf"],
        fields["item_use"],
        fields["item_quality"],
        periods(config),
    )
    fields |= draw_videos(rngs[4], fields, config)
    fields |= _draw_sways(rngs[5]) | draw_looks(rngs[5], len(fields["leaf_vector"]))
    brand_latents = ("brand_style", "brand_level", "brand_quality", "brand_weight")
    return World(**{k: v for k, v in fields.items() if k not in (*brand_latents, "leaf_price")})


def _draw_taxonomy(rng: np.random.Generator) -> dict[str, Any]:
    """Draws leaves around departments, with nearby leaves of a department alike."""
    department = [words.DEPARTMENTS.index(name) for name, _ in words.LEAVES]
    centre = unit(rng.standard_normal((len(words.DEPARTMENTS), LEAF_DIM)))
    own = unit(rng.standard_normal((len(department), LEAF_DIM)))
    leaf_vector = settle(unit(0.65 * centre[department] + 0.76 * own))
    near = np.einsum("ad,bd->ab", leaf_vector, leaf_vector) - 2 * np.eye(len(department))
    share = (1.0 + rng.permutation(len(department))) ** -0.5
    level = rng.normal(3.4, 0.6, len(words.DEPARTMENTS))
    return {
        "leaf_vector": leaf_vector,
        "leaf_visual": np.array([words.VISUAL_WEIGHT[name] for name, _ in words.LEAVES]),
        "leaf_share": settle(share / share.sum()),
        "leaf_price": level[department] + rng.normal(0, 0.3, len(department)),
        "leaf_neighbours": np.argsort(-near, axis=1, kind="stable")[:, :4],
        "use_vector": settle(unit(rng.standard_normal((len(words.USES), USE_DIM)))),
    }


def _draw_sways(rng: np.random.Generator) -> dict[str, Any]:
    """Draws what users' attributes say about them, and what words say about looks."""
    region = 0.4 * rng.standard_normal((len(words.REGIONS), STYLE_DIM))
    return {
        "age_sway": settle(rng.standard_normal((len(words.AGES), len(words.DEPARTMENTS)))),
        "household_sway": settle(
            1.2 * rng.standard_normal((len(words.HOUSEHOLDS), len(words.USES)))
        ),
        "region_style": settle(region - region.mean(axis=0)),
        "style_word_vector": settle(unit(rng.standard_normal((len(words.STYLES), STYLE_DIM)))),
    }


def _draw_brands(rng: np.random.Generator, fields: dict[str, Any], items: int) -> dict[str, Any]:
    leaves = len(fields["leaf_vector"])
    n = max(2 * leaves, items // ITEMS_PER_BRAND)
    quality = rng.standard_normal(n)
    return {
        "brand_leaf": np.concatenate([np.arange(leaves), rng.integers(0, leaves, n - leaves)]),
        "brand_style": rng.standard_normal((n, STYLE_DIM)),
        "brand_quality": quality,
        "brand_level": 0.5 * rng.standard_normal(n) + 0.4 * quality,
        "brand_weight": (1.0 + rng.permutation(n)) ** -0.6,
    }


def _brand_of(rng: np.random.Generator, leaf: Ints, fields: dict[str, Any]) -> Ints:
    """Draws a brand of the item's department, more often one at home in its leaf."""
    department = np.array([words.DEPARTMENTS.index(name) for name, _ in words.LEAVES])
    brand = np.zeros(len(leaf), np.int64)
    home = fields["brand_leaf"]
    for one in range(len(department)):
        here = np.flatnonzero(leaf == one)
        weight = fields["brand_weight"] * (department[home] == department[one])
        weight = weight * np.where(home == one, 8.0, 1.0)
        sums = np.cumsum(weight)
        brand[here] = np.searchsorted(sums, rng.random(len(here)) * sums[-1], side="right")
    return brand


def _draw_items(
    rng: np.random.Generator, fields: dict[str, Any], config: ShopConfig
) -> dict[str, Any]:
    n = config.n_items
    sums = np.cumsum(fields["leaf_share"])
    leaf = np.searchsorted(sums, rng.random(n) * sums[-1], side="right")
    use = rng.integers(0, len(words.USES), n)
    brand = _brand_of(rng, leaf, fields)
    quality = 0.5 * fields["brand_quality"][brand] + 0.87 * rng.standard_normal(n)
    level = 0.5 * fields["brand_level"][brand] + 0.2 * quality + 0.75 * rng.standard_normal(n)
    leaf_style = rng.standard_normal((len(fields["leaf_vector"]), STYLE_DIM))
    style = 0.35 * leaf_style[leaf] + 0.5 * fields["brand_style"][brand]
    style = style + 0.79 * rng.standard_normal((n, STYLE_DIM))
    price = np.exp(fields["leaf_price"][leaf] + _PRICE_SPREAD * level)
    return {
        "item_leaf": leaf,
        "item_use": use,
        "item_brand": brand,
        "item_material": (leaf // 3 + rng.integers(0, 6, n)) % len(words.MATERIALS),
        "item_topic": _topic(rng, fields, leaf, use),
        "item_style": settle(style),
        "item_price": np.maximum(np.round(price, 2), 0.5),
        "item_price_level": settle(level),
        "item_quality": settle(quality),
        "item_launch": _draw_launches(rng, n, config.span),
        "item_id": 1 + rng.permutation(n),
    }


def _topic(rng: np.random.Generator, fields: dict[str, Any], leaf: Ints, use: Ints) -> Floats:
    """Latent vector of an item, a little beside those of its leaf and its use."""
    what = fields["leaf_vector"][leaf] + 0.14 * rng.standard_normal((len(leaf), LEAF_DIM))
    purpose = fields["use_vector"][use] + 0.14 * rng.standard_normal((len(use), USE_DIM))
    return settle(np.concatenate([unit(what), unit(purpose)], axis=1))


def _draw_launches(rng: np.random.Generator, n: int, span: int) -> Ints:
    """Draws launches: some during the year before the log, the rest evenly during it."""
    before = -(rng.random(n) ** 2 * _OLDEST_DAYS * DAY).astype(np.int64) - 1
    during = (rng.random(n) * span).astype(np.int64)
    return np.where(rng.random(n) < OLD_SHARE, before, during)
