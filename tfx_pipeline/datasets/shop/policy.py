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
# For each entry the shares of the sources, in their order and in whole hundredths.
# RELATED draws from a leaf, PURPOSE from a use: the query's, or those of things lately
# clicked. MEMORY draws items on the user's mind, and videos that show items lately
# clicked. Where there is none they fall back to POPULAR.
SOURCES = np.array(
    [
        [0.28, 0.34, 0.08, 0.12, 0.08, 0.10],
        [0.12, 0.64, 0.00, 0.06, 0.10, 0.08],
        [0.12, 0.50, 0.16, 0.06, 0.08, 0.08],
        [0.14, 0.36, 0.20, 0.12, 0.08, 0.10],
    ]
)
# The source of each hundredth, so that drawing one is a look-up.
_SOURCE_OF = np.array([np.repeat(np.arange(6), np.rint(100 * row).astype(int)) for row in SOURCES])
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
    """Inputs of a policy for n page requests.

    Attributes:
        entry: [n] FEED, NAVIGATE, SEARCH or VIDEO.
        time: [n] microseconds since the log's start.
        leaf, use: [n, R] of the last things that the user clicked or watched, or R
            times that of the query or the place gone to; -1 for none.
        brand: [n] of the query, -1 for none.
        memory: [n, M] items that may be brought back to mind, -1 for none.
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
        memory: [n, M] items on the user's mind; lately clicked ones for a page of videos.

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
    source = _SOURCE_OF[request.entry[:, None], rng.integers(0, 100, (n, size), np.uint8)]
    place = rng.random((n, size))
    group = np.zeros((n, size), np.int64)
    for kind, told in (
        (RELATED, shelf.group(leaf=request.leaf)),
        (PURPOSE, shelf.group(use=request.use)),
    ):
        row, column = np.nonzero(source == kind)
        like = rng.integers(0, told.shape[1], len(row))  # which of the last things
        group[row, column] = told[row, like]
    pool = np.full((n, size), -1, np.int32)  # quicker to compare
    row, column = np.nonzero(source == MEMORY)
    slot = rng.integers(0, request.memory.shape[1], len(row))
    pool[row, column] = shelf.remind(request.memory[row, slot], place[row, column])
    source[(source == MEMORY) & (pool < 0)] = POPULAR
    first, last = new_range(shelf, request.time)
    source[(source == NEW) & (last <= first)[:, None]] = ANY
    row, column = np.nonzero(source == NEW)
    fresh = first[row] + (place[row, column] * (last - first)[row]).astype(np.int64)
    pool[row, column] = shelf.by_launch[fresh]
    pool = np.where(source == ANY, (place * len(shelf.leaf)).astype(np.int32), pool)
    row, column = np.nonzero(source <= PURPOSE)
    pool[row, column] = shelf.draw(group[row, column], request.time[row], place[row, column])
    pool[shelf.launch[pool] > request.time[:, None]] = -1
    return _without_repeats(pool)


def new_range(shelf: Shelf, time: Ints) -> tuple[Ints, Ints]:
    """Returns where the launches of the last days lie in the order of launches."""
    last = np.searchsorted(shelf.launches, time, side="right")
    return np.searchsorted(shelf.launches, time - NEW_DAYS * DAY), last


def _without_repeats(pool: np.ndarray) -> np.ndarray:
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
