"""Users: interests, tastes, habits, and what they tell about themselves."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfx_pipeline.datasets.shop import words
from tfx_pipeline.datasets.shop.config import ShopConfig
from tfx_pipeline.datasets.shop.world import STYLE_DIM
from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import Ints
from tfx_pipeline.datasets.shop.world import World
from tfx_pipeline.datasets.shop.world import settle
from tfx_pipeline.datasets.shop.world import unit
from transforms.arrow import pa
from transforms.arrow import read_table

MAX_INTERESTS = 12
INTEREST_STOP = 0.12  # of the geometric distribution of their number, cut at the maximum
NOT_VISUAL_SHARE = 0.3
SILENT_SHARE = 0.1  # of users do not tell a given attribute


@dataclass(frozen=True)
class Users:
    """Properties of some users; row u of every array is one of them.

    U users, K = MAX_INTERESTS. What an interest is about moves from
    `interest_leaf` towards `drift_leaf`, its style from `style_from` to
    `style_to`, and its weight by `interest_trend`, over the whole log.

    Attributes:
        join: [U] first microsecond since the log's start.
        sessions: [U] number of sessions.
        visual: [U] how much looks count, zero for some.
        price_care, price_ideal: [U] weight and place of the liked price level.
        material_taste: [U, materials] how much a material is liked, standard normal.
        watching, searching: [U] shares of video pages and of searches.
        drift: [U] how far interests move, from 0 to 1.
        interest_leaf, drift_leaf, interest_use, interest_brand: [U, K] indices.
        interest_personal: [U, K, topic] what no category says.
        style_from, style_to: [U, K, STYLE_DIM] liked styles, unit length.
        interest_weight, interest_trend: [U, K] log weight and its change.
        interest_start: [U, K] microseconds; far in the future where there is none.
        interest_medium: [U, K] from -1 (shown in item pages) to 1 (in videos).
        attributes: [U, 5] age, household, region, membership, device; -1 if untold.
    """

    join: Ints
    sessions: Ints
    visual: Floats
    price_care: Floats
    price_ideal: Floats
    material_taste: Floats
    watching: Floats
    searching: Floats
    drift: Floats
    interest_leaf: Ints
    drift_leaf: Ints
    interest_use: Ints
    interest_brand: Ints
    interest_personal: Floats
    style_from: Floats
    style_to: Floats
    interest_weight: Floats
    interest_trend: Floats
    interest_start: Ints
    interest_medium: Floats
    attributes: Ints

    def rows(self, first: int, last: int) -> Users:
        """Returns the users from `first` to `last` (exclusive)."""
        names = (field.name for field in dataclasses.fields(self))
        return Users(**{name: getattr(self, name)[first:last] for name in names})

    def to_table(self, user_ids: pa.Array) -> pa.Table:
        """Returns the properties as an Arrow table, matrices as flat lists."""
        columns = {"user_id": user_ids}
        for field in dataclasses.fields(self):
            values = getattr(self, field.name)
            flat = pa.array(values.reshape(-1))
            if values.ndim > 1:
                width = values.size // len(values)
                columns[field.name] = pa.FixedSizeListArray.from_arrays(flat, width)
            else:
                columns[field.name] = flat
        return pa.table(columns)

    @classmethod
    def read(cls, directory: Path) -> tuple[Users, list[str]]:
        """Reads what `to_table` made of all shards: the users and their ids."""
        table = pa.concat_tables([read_table(p) for p in sorted(directory.glob("*.parquet"))])
        shapes: dict[str, tuple[int, ...]] = {"interest_personal": (MAX_INTERESTS, -1)}
        shapes |= dict.fromkeys(("style_from", "style_to"), (MAX_INTERESTS, STYLE_DIM))
        arrays = {}
        for field in dataclasses.fields(cls):
            column = table.column(field.name).combine_chunks()
            if isinstance(column, pa.ChunkedArray):
                column = column.chunk(0)
            if pa.types.is_fixed_size_list(column.type):
                flat = column.flatten().to_numpy()
                shape = shapes.get(field.name, (-1,))
                arrays[field.name] = flat.reshape(len(column), *shape)
            else:
                arrays[field.name] = column.to_numpy()
        return cls(**arrays), table.column("user_id").to_pylist()


def draw_users(rng: np.random.Generator, world: World, config: ShopConfig, n: int) -> Users:
    """Draws users.

    Args:
        rng: Source of randomness.
        world: The shop.
        config: Size and span.
        n: Number of users U.

    Returns:
        The users.
    """
    age = rng.integers(0, len(words.AGES), n)
    household = rng.integers(0, len(words.HOUSEHOLDS), n)
    region = rng.integers(0, len(words.REGIONS), n)
    ideal = 0.8 * rng.standard_normal(n) + 0.15 * (age - 2.5)
    watching = rng.beta(1.6, 2.6 + 0.5 * age, n)
    visual = np.where(rng.random(n) < NOT_VISUAL_SHARE, 0.0, rng.gamma(5.0, 0.2, n))
    leaf, use = _draw_interests(rng, world, age, household)
    late = rng.random(n) < 0.3
    join = np.where(late, (rng.random(n) * 0.8 * config.span).astype(np.int64), 0)
    style_from, style_to = _draw_styles(rng, world, region)
    # Lomax's distribution: a power law that begins at one.
    sessions = (1 - rng.random(n)) ** (-1.0 / config.sessions_tail)
    sessions = 1 + config.sessions_scale * (sessions - 1)
    sessions = np.minimum(sessions, config.sessions_max) * (1 - join / config.span)
    shape = (n, MAX_INTERESTS)
    brand = rng.integers(0, 2**31, shape)
    return Users(
        join=join,
        sessions=np.maximum(1, np.floor(sessions)).astype(np.int64),
        visual=settle(visual),
        price_care=settle(0.22 * np.exp(0.6 * rng.standard_normal(n))),
        price_ideal=settle(ideal),
        material_taste=settle(rng.standard_normal((n, len(words.MATERIALS)))),
        watching=settle(watching),
        searching=settle(rng.beta(2.0, 3.5, n)),
        drift=settle(rng.beta(1.5, 2.5, n)),
        interest_leaf=leaf,
        drift_leaf=world.leaf_neighbours[leaf, rng.integers(0, 4, shape)],
        interest_use=use,
        interest_brand=_home_brand(world, leaf, brand),
        interest_personal=settle(0.15 * rng.standard_normal((*shape, world.item_topic.shape[1]))),
        style_from=style_from,
        style_to=style_to,
        interest_weight=settle(0.5 * rng.standard_normal(shape)),
        interest_trend=settle(0.8 * rng.standard_normal(shape)),
        interest_start=_draw_starts(rng, join, config.span),
        interest_medium=settle(2 * rng.beta(1.2, 1.2, shape) - 1),
        attributes=_tell(rng, age, household, region, ideal, watching),
    )


def _draw_interests(
    rng: np.random.Generator, world: World, age: Ints, household: Ints
) -> tuple[Ints, Ints]:
    """Draws leaf and use [U, K] of each interest; age and household sway them."""
    n, leaves = len(age), len(world.leaf_vector)
    department = np.array([words.DEPARTMENTS.index(name) for name, _ in words.LEAVES])
    leaf_logit = np.log(world.leaf_share) + world.age_sway[age][:, department]
    leaf_logit = leaf_logit + rng.gumbel(size=(n, leaves))
    leaf = np.argsort(-leaf_logit, axis=1, kind="stable")[:, :MAX_INTERESTS]
    use_logit = world.household_sway[household][:, None] + rng.gumbel(
        size=(n, MAX_INTERESTS, len(words.USES))
    )
    return leaf, np.argmax(use_logit, axis=2)


def _draw_styles(rng: np.random.Generator, world: World, region: Ints) -> tuple[Floats, Floats]:
    """Draws liked styles [U, K, STYLE_DIM]: a taste of the user's, varied by interest."""
    n = len(region)
    taste = world.region_style[region] + rng.standard_normal((n, STYLE_DIM))
    first = unit(taste[:, None] + 0.6 * rng.standard_normal((n, MAX_INTERESTS, STYLE_DIM)))
    last = unit(first + 0.35 * rng.standard_normal((n, MAX_INTERESTS, STYLE_DIM)))
    return settle(first), settle(last)


def _draw_starts(rng: np.random.Generator, join: Ints, span: int) -> Ints:
    """Draws when interests begin [U, K]; the first one is always there."""
    n = len(join)
    share = (1 - INTEREST_STOP) ** np.arange(MAX_INTERESTS)
    count = 1 + np.searchsorted(np.cumsum(share / share.sum())[:-1], rng.random(n), side="right")
    left = (rng.random((n, MAX_INTERESTS)) * (span - join)[:, None]).astype(np.int64)
    new = rng.random((n, MAX_INTERESTS)) < 0.25
    new[:, 0] = False
    start = np.where(new, join[:, None] + left, 0)
    return np.where(np.arange(MAX_INTERESTS) < count[:, None], start, np.iinfo(np.int64).max)


def _home_brand(world: World, leaf: Ints, draw: Ints) -> Ints:
    """Picks a brand at home in each leaf, by a random number."""
    order = np.argsort(world.brand_leaf, kind="stable")
    first = np.searchsorted(world.brand_leaf[order], np.arange(len(world.leaf_vector)))
    count = np.bincount(world.brand_leaf, minlength=len(world.leaf_vector))
    return order[first[leaf] + draw % count[leaf]]


def _tell(
    rng: np.random.Generator,
    age: Ints,
    household: Ints,
    region: Ints,
    ideal: Floats,
    watching: Floats,
) -> Ints:
    """Returns what users tell [U, 5]; membership and device follow habits loosely."""
    n = len(age)
    membership = np.searchsorted([-0.4, 0.9], ideal + 0.6 * rng.standard_normal(n))
    device = np.searchsorted([0.25, 0.45], watching + 0.15 * rng.standard_normal(n))
    told = np.stack([age, household, region, membership, device], axis=1)
    return np.where(rng.random(told.shape) < SILENT_SHARE, -1, told)
