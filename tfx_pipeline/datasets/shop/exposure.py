"""Probability that the logging policy shows an item, which an oracle has to know.

What is clicked next depends on what is shown as much as on what is liked: a
ranking by utility alone would lose to popularity.
"""

from __future__ import annotations

import numpy as np

from tfx_pipeline.datasets.shop import policy
from tfx_pipeline.datasets.shop.shelf import Shelf
from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import Ints
from tfx_pipeline.datasets.shop.world import period_of

_BLOCK = 8


def draw_probability(shelf: Shelf, request: policy.Request) -> Floats:
    """Returns the probability [n, N] that one draw of the pool gives each thing.

    Exact: the mixture of the policy's sources, each with its own distribution.

    Args:
        shelf: Items or videos.
        request: Of n pages.

    Returns:
        Probabilities that sum to at most one; the rest is what is not out yet.
    """
    n, size = len(request.entry), len(shelf.leaf)
    share = policy.SOURCES[request.entry].copy()
    weight = shelf.weight[period_of(request.time)]
    weight = weight / weight.sum(axis=1, keepdims=True)
    first, last = policy.new_range(shelf, request.time)
    total = np.zeros((n, size))
    each = share[:, policy.MEMORY] / request.memory.shape[1]
    count = np.where(request.memory < 0, 0, np.diff(shelf.reminder_start)[request.memory])
    share[:, policy.POPULAR] += each * (count == 0).sum(axis=1)
    # Every thing that each remembered item brings to mind, one after the other.
    rows, slots = np.nonzero(count)
    many = count[rows, slots]
    ends = np.cumsum(many)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - many, many)
    begin = shelf.reminder_start[request.memory[rows, slots]]
    things = shelf.reminders[np.repeat(begin, many) + within]
    np.add.at(total, (np.repeat(rows, many), things), np.repeat(each[rows] / many, many))
    # For each group the probability that a draw is from it; of a group by popularity.
    groups = np.zeros((n, 1 + shelf.n_leaves + shelf.n_uses))
    for source, asked in (
        (policy.RELATED, shelf.group(leaf=request.leaf)),
        (policy.PURPOSE, shelf.group(use=request.use)),
    ):
        each = np.broadcast_to(share[:, source, None] / asked.shape[1], asked.shape)
        np.add.at(groups, (np.arange(n)[:, None], asked), each)
    groups[:, 0] += share[:, policy.POPULAR]
    mass = shelf.mass(request.time)
    groups /= np.where(mass > 0, mass, 1)
    by_group = groups[:, 1 + shelf.leaf] + groups[:, 1 + shelf.n_leaves + shelf.use]
    total += weight * (groups[:, :1] + by_group)
    fresh = last - first
    place = np.empty(size, np.int64)
    place[shelf.by_launch] = np.arange(size)
    is_new = (place >= first[:, None]) & (place < last[:, None])
    total += is_new * (share[:, policy.NEW] / np.maximum(fresh, 1))[:, None]
    share[:, policy.ANY] += np.where(fresh > 0, 0, share[:, policy.NEW])
    total += (share[:, policy.ANY] / size)[:, None]
    return np.where(shelf.launch <= request.time[:, None], total, 0.0)


def seen_probability(draws: Floats, score: Floats, pool: int, attention: Floats) -> Floats:
    """Returns about how likely each thing [n, N] is to be shown and looked at.

    A thing is in the pool with probability h = 1 - (1 - draw)^pool. The policy
    then takes some of the pool one after the other, each in proportion to
    v = exp(score / noise); for a thing of the pool the others weigh
    V = sum h v, so that the chance of each place is about
    r_j = v / (v + V (1 - j / sum h)) times that of not being taken before.

    Args:
        draws: [n, N] of `draw_probability`.
        score: [n, N] of `policy.ranker_score`.
        pool: Number of draws.
        attention: [places] for each place the probability that it is looked at.

    Returns:
        The probabilities.
    """
    held = 1 - (1 - draws) ** pool
    value = np.exp((score - score.max(axis=1, keepdims=True)) / policy.SCORE_NOISE)
    seen = np.zeros_like(value)
    for start in range(0, len(value), _BLOCK):  # that a processor's cache holds
        rows = slice(start, start + _BLOCK)
        seen[rows] = _seen(held[rows], value[rows], attention)
    return held * seen


def _seen(held: Floats, value: Floats, attention: Floats) -> Floats:
    """Returns [n, N] how likely things of the pool are to be shown and looked at."""
    others = (held * value).sum(axis=1, keepdims=True)
    size = held.sum(axis=1, keepdims=True)
    left = np.ones_like(value)
    seen = np.zeros_like(value)
    for place in range(len(attention)):
        rest = others * np.clip(1 - place / np.maximum(size, 1), 0.02, 1)
        taken = left * (value / (value + rest))
        seen += attention[place] * taken
        left -= taken
    return seen


def rank_of(scores: Floats, target: Ints) -> Ints:
    """Returns the rank (from 0) of each row's target [n]; ties count half against it."""
    own = np.take_along_axis(scores, target[:, None], axis=1)
    return (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) // 2
