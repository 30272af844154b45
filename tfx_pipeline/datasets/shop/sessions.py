"""Plans sessions and their steps, before anything is shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfx_pipeline.datasets.shop import words
from tfx_pipeline.datasets.shop.config import DAY
from tfx_pipeline.datasets.shop.config import MICROSECONDS
from tfx_pipeline.datasets.shop.config import SESSION_GAP
from tfx_pipeline.datasets.shop.config import ShopConfig
from tfx_pipeline.datasets.shop.policy import FEED
from tfx_pipeline.datasets.shop.policy import NAVIGATE
from tfx_pipeline.datasets.shop.policy import SEARCH
from tfx_pipeline.datasets.shop.policy import VIDEO
from tfx_pipeline.datasets.shop.users import MAX_INTERESTS
from tfx_pipeline.datasets.shop.users import Users
from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import Ints
from tfx_pipeline.datasets.shop.world import World

MAX_STEPS = 10
LAST_WORD_HOURS = 2  # no session starts so shortly before the end
STOP = 0.33  # probability that a session ends after a page
_MEDIUM = 1.5  # how much an interest keeps to its medium
ACTIVE_DAYS = 10.0  # mean length of an interest's active spells
DORMANT_DAYS = 30.0  # and of the dormant ones between them
DORMANT = -3.0  # log weight of a dormant interest
_STRAY = 0.15  # of sessions look next door: a nearby leaf, another use
FEED_SHARE = 0.65  # of the sessions without a query
_QUERY_USE = 0.55  # of queries say what for
_QUERY_BRAND = 0.25  # of queries name the liked brand

# Relative activity of each hour of the day. The quietest hour to the busiest
# is one to three, so that sessions an hour apart stay twenty minutes apart.
_HOURS = np.array(
    [7, 6, 6, 6, 6, 6, 7, 9, 10, 10, 10, 11, 12, 11, 10, 10, 11, 12, 14, 16, 18, 18, 14, 10.0]
)


@dataclass(frozen=True)
class Plan:
    """Sessions and steps of some users, ordered by user and time.

    S sessions, T steps. A step is one page: of items or of videos.

    Attributes:
        user, start, interest, entry, focus_leaf, focus_use: [S] of a session;
            entry is that of its item pages.
        awake: [S, K] which of the user's interests are in an active spell.
        query_use, query_brand, query_word: [S] whether a query names the use
            and the brand, and by which word the leaf.
        session: [T] session of a step.
        index: [T] number of the step within its session.
        time: [T] microseconds since the log's start.
        page_entry: [T] FEED, NAVIGATE, SEARCH or VIDEO.
        turn: [T] number of the step within its user's steps.
    """

    user: Ints
    start: Ints
    interest: Ints
    awake: np.ndarray
    entry: Ints
    focus_leaf: Ints
    focus_use: Ints
    query_use: Ints
    query_brand: Ints
    query_word: Ints
    session: Ints
    index: Ints
    time: Ints
    page_entry: Ints
    turn: Ints


def plan_sessions(rng: np.random.Generator, world: World, users: Users, config: ShopConfig) -> Plan:
    """Draws when users come, what for, and how long they stay."""
    user = np.repeat(np.arange(len(users.join)), users.sessions)
    start = _draw_times(rng, users, user, config.span)
    n = len(user)
    watching = users.watching[user]
    videos = (rng.random((2, n)) < watching).sum(axis=0)  # 0 browse, 1 both, 2 watch
    awake = draw_spells(rng, user, start)
    interest = _draw_interest(rng, users, user, start, videos, awake, config.span)
    leaf, use = _draw_focus(rng, world, users, user, interest, start, config.span)
    without = np.where(rng.random(n) < FEED_SHARE, FEED, NAVIGATE)
    entry = np.where(rng.random(n) < users.searching[user], SEARCH, without)
    steps = np.minimum(rng.geometric(STOP, n), MAX_STEPS)
    session = np.repeat(np.arange(n), steps)
    index = _count_within(steps)
    gaps = rng.integers(25 * MICROSECONDS, 90 * MICROSECONDS, len(session))
    total = np.cumsum(gaps)
    first = np.cumsum(steps) - steps
    time = start[session] + total - total[first[session]]
    is_video = rng.random(len(session)) * 2 < videos[session]
    brand_fits = leaf == users.interest_leaf[user, interest]
    return Plan(
        user=user,
        start=start,
        interest=interest,
        awake=awake,
        entry=entry,
        focus_leaf=leaf,
        focus_use=use,
        query_use=(rng.random(n) < _QUERY_USE).astype(np.int64),
        query_brand=(brand_fits & (rng.random(n) < _QUERY_BRAND)).astype(np.int64),
        query_word=rng.integers(0, words.WORDS_PER_LEAF, n),
        session=session,
        index=index,
        time=time,
        page_entry=np.where(is_video, VIDEO, entry[session]),
        turn=_count_within(np.bincount(user[session], minlength=len(users.join))),
    )


def interest_logits(users: Users, user: Ints, time: Ints, awake: np.ndarray, span: int) -> Floats:
    """Returns the log weights of interests [n, K] at a time; -inf where there is none yet."""
    logit = users.interest_weight[user] + users.interest_trend[user] * (time / span)[:, None]
    logit = logit + np.where(awake, 0.0, DORMANT)
    return np.where(users.interest_start[user] <= time[:, None], logit, -np.inf)


def draw_spells(rng: np.random.Generator, user: Ints, start: Ints) -> np.ndarray:
    """Draws which interests are active in sessions [S, K], ordered by user and time.

    Active and dormant spells alternate, with exponential lengths. That is: an
    interest is drawn anew, active with the share of time that it is active, at
    random times of the rate 1 / ACTIVE_DAYS + 1 / DORMANT_DAYS; between sessions
    it only matters whether there was such a time.
    """
    n = len(user)
    rate = 1 / ACTIVE_DAYS + 1 / DORMANT_DAYS
    gap = np.diff(start, prepend=0) / DAY
    gap[np.diff(user, prepend=-1) != 0] = np.inf
    drawn = rng.random((n, MAX_INTERESTS)) < 1 - np.exp(-rate * gap)[:, None]
    active = rng.random((n, MAX_INTERESTS)) < ACTIVE_DAYS / (ACTIVE_DAYS + DORMANT_DAYS)
    latest = np.maximum.accumulate(np.where(drawn, np.arange(n)[:, None], 0), axis=0)
    return np.take_along_axis(active, latest, axis=0)


def _draw_times(rng: np.random.Generator, users: Users, user: Ints, span: int) -> Ints:
    """Draws sorted starts of sessions [S], more of them in the evening."""
    number = _count_within(users.sessions)
    join = users.join[user]
    room = span - LAST_WORD_HOURS * 3_600 * MICROSECONDS - join
    room = np.maximum(room - users.sessions[user] * SESSION_GAP, 0)
    offset = (rng.random(len(user)) * room).astype(np.int64)
    offset = offset[np.lexsort((offset, user))]
    time = join + offset + number * SESSION_GAP
    edges = np.concatenate([[0.0], np.cumsum(_HOURS) / _HOURS.sum()])
    warped = np.interp((time % DAY) / DAY, edges, np.arange(25) / 24.0)
    return np.maximum(time // DAY * DAY + (warped * DAY).astype(np.int64), join)


def _draw_interest(
    rng: np.random.Generator, users: Users, user: Ints, time: Ints, videos: Ints,
    awake: np.ndarray, span: int,
) -> Ints:  # fmt: skip
    logit = interest_logits(users, user, time, awake, span)
    logit = logit + _MEDIUM * users.interest_medium[user] * (videos - 1)[:, None]
    return np.argmax(logit + rng.gumbel(size=logit.shape), axis=1)


def _draw_focus(
    rng: np.random.Generator, world: World, users: Users, user: Ints, interest: Ints, time: Ints,
    span: int,
) -> tuple[Ints, Ints]:  # fmt: skip
    """Draws what sessions are about: the interest's leaf and use, or something close."""
    n = len(user)
    moved = rng.random(n) < users.drift[user] * time / span
    leaf = np.where(moved, users.drift_leaf[user, interest], users.interest_leaf[user, interest])
    nearby = world.leaf_neighbours[leaf, rng.integers(0, 4, n)]
    leaf = np.where(rng.random(n) < _STRAY, nearby, leaf)
    use = users.interest_use[user, interest]
    other = rng.integers(0, len(world.use_vector), n)
    return leaf, np.where(rng.random(n) < _STRAY, other, use)


def _count_within(sizes: Ints) -> Ints:
    """Returns 0, 1, .. for each group of the given sizes, one after the other."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)
