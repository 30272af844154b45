"""True utility of users: one definition for the simulator and for the oracle.

The utility of a thing on a page is a sum of parts,

    U = topic + brand + material + style + price + quality + popularity + memory,

and a user who looks at it clicks it (or watches it) with probability
sigmoid(bias + U).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfx_pipeline.datasets.shop.users import Users
from tfx_pipeline.datasets.shop.world import LEAF_DIM
from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import Ints
from tfx_pipeline.datasets.shop.world import World
from tfx_pipeline.datasets.shop.world import period_of
from tfx_pipeline.datasets.shop.world import unit

PARTS = ("topic", "brand", "material", "style", "price", "quality", "popularity", "memory")

WHAT = 2.2  # weight of the leaf block of the topic
PURPOSE = 1.1  # weight of the use block
BRAND = 0.8
MATERIAL = 0.4  # for a liking of one standard deviation
STYLE = 0.9  # for a user of visual = 1 in a department of visual weight 1
QUALITY = 0.25
PRESENTATION = 0.5  # the quality of a video
POPULARITY = 0.2
FOCUS = 0.6  # how much a session's intent adds to the interest behind it
BIAS = {"item": -2.8, "video": -2.6}
SLOPE = {"item": 0.22, "video": 0.15}  # looked at with probability 1 / (1 + slope position)
MEMORY_DAYS = 5.0
MEMORY_BOUNDS = (-4.0, 2.5)

_COMPARISONS = 1 << 22  # bounds the memory of one block


@dataclass(frozen=True)
class Intent:
    """Wants of n page requests; rows of arrays.

    Attributes:
        user: [n] row of the user.
        interest: [n] which of the user's interests.
        time: [n] microseconds since the log's start.
        focus_leaf, focus_use: [n] what this session is about.
        memory_item: [n, M] items (or videos) on the user's mind, -1 for none.
        memory_strength: [n, M] how strongly by now; negative puts off.
        clicked_item: [n, M] items lately clicked, -1 for none.
        clicked_strength: [n, M] how much they add by now to videos that show them.
    """

    user: Ints
    interest: Ints
    time: Ints
    focus_leaf: Ints
    focus_use: Ints
    memory_item: Ints
    memory_strength: Floats
    clicked_item: Ints
    clicked_strength: Floats


def intent_topic(world: World, users: Users, intent: Intent, span: int) -> Floats:
    """Returns the topic [n, LEAF_DIM + USE_DIM] that is wanted, weighted for dot products.

    what = unit((1 - m) e_leaf + m e_drift + personal + FOCUS e_focus) with
    m = drift * time / span; the purpose likewise.
    """
    at = (intent.user, intent.interest)
    moved = (users.drift[intent.user] * intent.time / span)[:, None]
    personal = users.interest_personal[at]
    what = (1 - moved) * world.leaf_vector[users.interest_leaf[at]]
    what = what + moved * world.leaf_vector[users.drift_leaf[at]] + personal[:, :LEAF_DIM]
    what = what + FOCUS * world.leaf_vector[intent.focus_leaf]
    purpose = world.use_vector[users.interest_use[at]] + personal[:, LEAF_DIM:]
    purpose = purpose + FOCUS * world.use_vector[intent.focus_use]
    return np.concatenate([WHAT * unit(what), PURPOSE * unit(purpose)], axis=1)


def liked_style(users: Users, intent: Intent, span: int) -> Floats:
    """Returns visual * unit(style at that time) [n, STYLE_DIM]; zero for some users."""
    at = (intent.user, intent.interest)
    moved = (users.drift[intent.user] * intent.time / span)[:, None]
    style: Floats = (1 - moved) * users.style_from[at]
    style = unit(style + moved * users.style_to[at])
    return users.visual[intent.user][:, None] * style


def parts_of(
    kind: str,
    world: World,
    users: Users,
    intent: Intent,
    things: Ints,
    span: int,
    topic: Floats | None = None,
) -> dict[str, Floats]:
    """Returns the parts of the utility of items or videos.

    Args:
        kind: `item` or `video`; brand and price say nothing of videos.
        world: The shop.
        users: The users that `intent` speaks of.
        intent: Of n page requests.
        things: [n, C] rows for each request; [1, N] the same for all of them.
        span: Length of the log in microseconds.
        topic: What `intent_topic` returns, where it is at hand.

    Returns:
        For each of `PARTS` an array [n, C].
    """
    topic = intent_topic(world, users, intent, span) if topic is None else topic
    style = liked_style(users, intent, span)
    period = period_of(intent.time)[:, None]
    of = {
        name: getattr(world, f"{kind}_{name}")
        for name in ("topic", "style", "leaf", "quality", "popularity")
    }
    shape = (len(intent.user), things.shape[1])
    appeal = (QUALITY if kind == "item" else PRESENTATION) * of["quality"][things]
    brand = material = price = np.zeros(shape)
    memory = remembered(intent.memory_item, intent.memory_strength, things)
    if kind == "item":
        liked = users.interest_brand[intent.user, intent.interest][:, None]
        brand = BRAND * (world.item_brand[things] == liked)
        taste = users.material_taste[intent.user]
        material = MATERIAL * _pick(taste, world.item_material[things])
        level = world.item_price_level[things] - users.price_ideal[intent.user][:, None]
        price = -users.price_care[intent.user][:, None] * np.minimum(level * level, 6.0)
    else:
        memory = memory + _shown_clicks(world, intent, things)
    return {
        "topic": _dot(of["topic"], things, topic),
        "brand": brand,
        "material": material,
        "style": STYLE * world.leaf_visual[of["leaf"][things]] * _dot(of["style"], things, style),
        "price": price,
        "quality": np.broadcast_to(appeal, shape),
        "popularity": POPULARITY * of["popularity"][period, things],
        "memory": np.clip(memory, *MEMORY_BOUNDS),
    }


def remembered(memory: Ints, strength: Floats, things: Ints) -> Floats:
    """Returns the strengths [n, C] of things [n, C] or [1, C] among memories [n, M]."""
    n, slots = memory.shape
    if things.shape[0] == 1:
        table = np.zeros((n, 2 + max(things.max(), memory.max())))
        np.add.at(table, (np.arange(n)[:, None], memory), strength)
        return table[:, things[0]]
    total = np.zeros(things.shape)
    step = max(1, _COMPARISONS // (things.shape[1] * slots))
    for start in range(0, n, step):
        rows = slice(start, start + step)
        same = things[rows, :, None] == memory[rows, None, :]
        total[rows] = np.einsum("ncm,nm->nc", same, strength[rows])
    return total


def _shown_clicks(world: World, intent: Intent, videos: Ints) -> Floats:
    """Returns what clicks on the items that videos [n, C] show add to them."""
    items = world.video_items[videos]  # [n, C, MAX_SHOWN]
    flat = items.reshape(len(items), -1)
    each = remembered(intent.clicked_item, intent.clicked_strength, flat)
    return each.reshape(len(each), *items.shape[1:]).sum(axis=2)


def _pick(table: Floats, columns: Ints) -> Floats:
    """Returns values [n, C] of rows [n, d] at columns [n, C], or [1, N] for all of them."""
    if columns.shape[0] == 1:
        return table[:, columns[0]]
    return np.take_along_axis(table, columns, axis=1)


def attention(kind: str, position: Ints) -> Floats:
    """Returns the probability that a position (from 0) of a page is looked at."""
    return 1.0 / (1.0 + SLOPE[kind] * position.astype(np.float64))


def sigmoid(logit: Floats) -> Floats:
    """Returns 1 / (1 + exp(-logit))."""
    return 1.0 / (1.0 + np.exp(-logit))


def _dot(table: Floats, rows: Ints, vectors: Floats) -> Floats:
    """Returns the products [n, C] of a table's rows [n, C] (or [1, N]) with vectors [n, d]."""
    if rows.shape[0] == 1 and len(vectors) > 1:
        return np.einsum("nd,cd->nc", vectors, table[rows[0]])
    return np.einsum("ncd,nd->nc", table[rows], vectors)


def total(parts: dict[str, Floats]) -> Floats:
    """Returns the utility, the sum of its parts."""
    return sum((parts[name] for name in PARTS[1:]), parts[PARTS[0]])


def liking(kind: str, parts: dict[str, Floats]) -> Floats:
    """Returns the probability that what is looked at is clicked (item) or watched (video)."""
    return sigmoid(BIAS[kind] + total(parts))


def choice(kind: str, parts: dict[str, Floats]) -> Floats:
    """Returns the probability of a click or watch [n, C]; column j is position j."""
    position = np.arange(parts[PARTS[0]].shape[1])
    return attention(kind, position) * liking(kind, parts)


def watched_fraction(parts: dict[str, Floats], noise: Floats) -> Floats:
    """Returns how much of a video is watched, in hundredths from 0.02 to 1."""
    return np.clip(np.round(sigmoid(-0.6 + 0.6 * total(parts) + noise), 2), 0.02, 1.0)


def cart(parts: dict[str, Floats]) -> Floats:
    """Returns the probability that a clicked item goes into the cart; price counts more."""
    liking = 0.6 * parts["topic"] + parts["brand"] + parts["style"]
    return sigmoid(-4.4 + liking + 1.5 * parts["price"] + 2.0 * parts["quality"])


def buy(parts: dict[str, Floats]) -> Floats:
    """Returns the probability that what is in the cart is bought."""
    return sigmoid(-0.9 + 1.5 * parts["price"] + 2.0 * parts["quality"])
