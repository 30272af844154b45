"""The logging policy: which things are shown, and in which order.

A request draws a pool of candidates, each from one of several sources, scores
them by what a shop's ranker may know (never looks or a user's taste in price),
and shows the best in the order of noisy scores. The oracle reads the same
sources and scores to tell how likely a thing is to be shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfx_pipeline.datasets.shop.config import DAY
from tfx_pipeline.datasets.shop.shelf import Shelf
from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import Ints
from tfx_pipeline.datasets.shop.world import World
from tfx_pipeline.datasets.shop.world import period_of

FEED, NAVIGATE, SEARCH, VIDEO = range(4)  # how a page was asked for
ENTRIES = ("feed", "navigate", "search", "video")

POPULAR, RELATED, PURPOSE, MEMORY, NEW, ANY = range(6)
# For each entry the shares of the sources, in their order. RELATED draws from a
# leaf, PURPOSE from a use: the query's, or those of things lately clicked. Where
# there is none they fall back to POPULAR.
SOURCES = np.array(
    [
        [0.28, 0.34, 0.08, 0.12, 0.08, 0.10],
        [0.12, 0.64, 0.00, 0.06, 0.10, 0.08],
        [0.12, 0.50, 0.16, 0.06, 0.08, 0.08],
        [0.18, 0.40, 0.22, 0.00, 0.08, 0.12],
    ]
)
NEW_DAYS = 12

# The ranker's score: popularity, match with context and query, and its own
# estimate of the topic's part of the utility, which errs.
SCORE_POPULARITY = 0.3
SCORE_LEAF = 0.9
SCORE_USE = 0.5
SCORE_BRAND = 0.8
SCORE_TOPIC = 0.5
SCORE_NOISE = 1.0  # scale of the Gumbel noise


@dataclass(frozen=True)
class Request:
    """What a policy knows of n page requests.

    Attributes:
        entry: [n] FEED, NAVIGATE, SEARCH or VIDEO.
        time: [n] microseconds since the log's start.
        leaf, use: [n, R] of the last things that the user clicked or watched, or R
            times that of the query or the place gone to; -1 for none.
        brand: [n] of the query, -1 for none.
        memory: [n, M] things on the user's mind, -1 for none.
    """

    entry: Ints
    time: Ints
    leaf: Ints
    use: Ints
    brand: Ints
    memory: Ints


def make_request(
    world: World, entry: Ints, time: Ints, said: tuple[Ints, Ints, Ints], recent: Ints, memory: Ints
) -> Request:
    """Says what the policy knows: the query or the place, or else the recent history.

    Args:
        world: The shop.
        entry: [n] how the pages are asked for.
        time: [n] microseconds since the log's start.
        said: [n] leaf, use and brand of the query or the place, -1 for none.
        recent: [n, R] items lately clicked or seen in a video, -1 for none.
        memory: [n, M] things on the user's mind.

    Returns:
        The request.
    """
    asked = ((entry == NAVIGATE) | (entry == SEARCH))[:, None]
    known = recent >= 0
    leaf = np.where(known, world.item_leaf[recent], -1)
    use = np.where(known, world.item_use[recent], -1)
    leaf = np.where(asked, said[0][:, None], leaf)
    use = np.where(asked, said[1][:, None], use)
    return Request(entry, time, leaf, use, said[2], memory)


def draw_pool(rng: np.random.Generator, shelf: Shelf, request: Request, size: int) -> Ints:
    """Draws candidates [n, size]; repeats and what is not out yet become -1."""
    n = len(request.entry)
    shares = np.cumsum(SOURCES, axis=1)[request.entry]  # [n, sources]
    source = (rng.random((n, size))[:, :, None] >= shares[:, None, :-1]).sum(axis=2)
    place = rng.random((n, size))
    period = np.broadcast_to(period_of(request.time)[:, None], (n, size))
    slot = (place * request.memory.shape[1]).astype(np.int64)
    recalled = np.take_along_axis(request.memory, slot, axis=1)
    first, last = new_range(shelf, request.time)
    like = rng.integers(0, request.leaf.shape[1], (n, size))  # which of the last things
    leaf = np.take_along_axis(request.leaf, like, axis=1)
    use = np.take_along_axis(request.use, like, axis=1)
    source = np.where((source == RELATED) & (leaf < 0), POPULAR, source)
    source = np.where((source == PURPOSE) & (use < 0), POPULAR, source)
    source = np.where((source == MEMORY) & (recalled < 0), POPULAR, source)
    source = np.where((source == NEW) & (last <= first)[:, None], ANY, source)
    pool = (place * len(shelf.leaf)).astype(np.int64)
    pool = np.where(source == MEMORY, recalled, pool)
    fresh = first[:, None] + (place * (last - first)[:, None]).astype(np.int64)
    pool = np.where(source == NEW, shelf.by_launch[np.minimum(fresh, len(shelf.leaf) - 1)], pool)
    for kind, group in ((POPULAR, None), (RELATED, leaf), (PURPOSE, use)):
        chosen = source == kind
        where = None if group is None else group[chosen]
        pool[chosen] = _by_popularity(shelf, kind, where, period[chosen], place[chosen])
    pool = np.where(shelf.launch[pool] > request.time[:, None], -1, pool)
    return _without_repeats(pool)


def _by_popularity(
    shelf: Shelf, kind: int, group: Ints | None, period: Ints, place: Floats
) -> Ints:
    """Draws by popularity weights from everything, or from one leaf or use each."""
    by_use = kind == PURPOSE
    order = shelf.by_use if by_use else shelf.by_leaf
    sums = shelf.use_sums if by_use else shelf.leaf_sums
    start = shelf.use_start if by_use else shelf.leaf_start
    low = np.zeros(len(period), np.int64) if group is None else start[group]
    high = np.full(len(period), len(order)) if group is None else start[group + 1]
    drawn = np.zeros(len(period), np.int64)
    for one in np.unique(period):
        here = np.flatnonzero(period == one)
        bottom, top = sums[one, low[here]], sums[one, high[here]]
        value = bottom + place[here] * (top - bottom)
        found = np.searchsorted(sums[one], value, side="right") - 1
        drawn[here] = np.clip(found, low[here], np.maximum(high[here] - 1, low[here]))
    return order[np.minimum(drawn, len(order) - 1)]


def new_range(shelf: Shelf, time: Ints) -> tuple[Ints, Ints]:
    """Returns where the launches of the last days lie in the order of launches."""
    last = np.searchsorted(shelf.launches, time, side="right")
    return np.searchsorted(shelf.launches, time - NEW_DAYS * DAY), last


def _without_repeats(pool: Ints) -> Ints:
    """Replaces all but the first of equal candidates by -1."""
    order = np.argsort(pool, axis=1, kind="stable")
    ranked = np.take_along_axis(pool, order, axis=1)
    ranked[:, 1:] = np.where(ranked[:, 1:] == ranked[:, :-1], -1, ranked[:, 1:])
    result = np.empty_like(pool)
    np.put_along_axis(result, order, ranked, axis=1)
    return result


def ranker_score(shelf: Shelf, request: Request, topic: Floats, things: Ints) -> Floats:
    """Returns the ranker's score [n, C] without its noise.

    Args:
        shelf: Items or videos.
        request: Of n pages.
        topic: [n, C] the topic's part of the utility.
        things: [n, C] or [1, C] rows of the shelf.

    Returns:
        The scores.
    """
    score = SCORE_POPULARITY * shelf.popularity[period_of(request.time)[:, None], things]
    score = score + SCORE_LEAF * _match(shelf.leaf[things], request.leaf)
    score = score + SCORE_USE * _match(shelf.use[things], request.use)
    score = score + SCORE_BRAND * (shelf.brand[things] == request.brand[:, None])
    return score + SCORE_TOPIC * topic


def _match(have: Ints, asked: Ints) -> Floats:
    """Returns for what share [n, C] of what was asked for [n, R] things are fit."""
    share = np.zeros((len(asked), have.shape[1]))
    for column in asked.T:
        share += have == column[:, None]
    return share / asked.shape[1]


def choose(rng: np.random.Generator, pool: Ints, score: Floats, size: int) -> Ints:
    """Returns the `size` candidates of the best noisy scores, best first; -1 where too few."""
    noisy = score + SCORE_NOISE * rng.gumbel(size=score.shape)
    noisy = np.where(pool < 0, -np.inf, noisy)
    best = np.argsort(-noisy, axis=1, kind="stable")[:, :size]
    return np.take_along_axis(pool, best, axis=1)
