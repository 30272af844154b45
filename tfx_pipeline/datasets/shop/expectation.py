"""True probability of each entity to be chosen next."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from tfx_pipeline.datasets.shop import policy
from tfx_pipeline.datasets.shop import sessions
from tfx_pipeline.datasets.shop import utility
from tfx_pipeline.datasets.shop.exposure import draw_probability
from tfx_pipeline.datasets.shop.exposure import seen_probability
from tfx_pipeline.datasets.shop.pages import PLACES
from tfx_pipeline.datasets.shop.shelf import Shelf
from tfx_pipeline.datasets.shop.simulate import POOL
from tfx_pipeline.datasets.shop.truth import Truth
from tfx_pipeline.datasets.shop.users import Users
from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import Ints
from tfx_pipeline.datasets.shop.world import period_of

_UNLIKELY = 0.01  # chance below which what a page may be about is left out
LEVELS = ("popularity", "user_without_images", "user", "intent")


def expected_choices(truth: Truth, shelf: Shelf, kind: str, page: Ints, level: str) -> Floats:
    """Returns how likely each thing is to be chosen on pages that are not drawn yet.

    Args:
        truth: The truth of a log.
        shelf: Its items or videos.
        kind: `item` or `video`.
        page: [n] rows of `Truth.pages`.
        level: `popularity` knows the popularity of the day. `user` knows the
            user's interests, tastes and memory but not what the session is
            about; `user_without_images` does not know the liked looks either.
            `intent` knows what the session is about and the query.

    Returns:
        Scores [n, N] of all items or videos, zero for what is not out yet.
    """
    time = truth.pages["time"][page]
    if level == "popularity":
        return np.where(shelf.launch <= time[:, None], shelf.weight[period_of(time)], 0.0)
    intent, request, users = truth.intent(page), truth.request(page), truth.users
    if level == "intent":
        return _chosen(truth, shelf, kind, users, intent, request)
    if level == "user_without_images":
        users = dataclasses.replace(users, visual=np.zeros_like(users.visual))
    scores = np.zeros((len(page), len(shelf.leaf)))
    for rows, chance, one_intent, one_request in _guesses(truth, kind, page, intent, request):
        chosen = _chosen(truth, shelf, kind, users, one_intent, one_request)
        scores[rows] += chance[:, None] * chosen
    return scores


def _chosen(
    truth: Truth,
    shelf: Shelf,
    kind: str,
    users: Users,
    intent: utility.Intent,
    request: policy.Request,
) -> Floats:
    """Returns the chances [n, N] of being shown, looked at and liked."""
    things = np.arange(len(shelf.leaf))[None, :]
    parts = utility.parts_of(kind, truth.world, users, intent, things, truth.config.span)
    score = policy.ranker_score(shelf, request, parts["topic"], things)
    looks = utility.attention(kind, np.arange(PLACES[kind]))
    seen = seen_probability(draw_probability(shelf, request), score, POOL, looks)
    return seen * utility.liking(kind, parts)


def _guesses(
    truth: Truth, kind: str, page: Ints, intent: utility.Intent, request: policy.Request
) -> Iterator[tuple[Ints, Floats, utility.Intent, policy.Request]]:
    """Yields what pages may be about and how they may be asked for.

    Each time rows [r] of `page`, for which that is not too unlikely, their
    chances [r], and what they want and ask for then.
    """
    users, user = truth.users, intent.user
    is_item = kind == "item"
    logit = sessions.interest_logits(users, user, intent.time, truth.awake(page), truth.config.span)
    logit = logit + users.interest_medium[user] * (-1.0 if is_item else 1.0)
    share = np.exp(logit - logit.max(axis=1, keepdims=True))
    share = share / share.sum(axis=1, keepdims=True)
    moved = users.drift[user] * intent.time / truth.config.span
    search = users.searching[user] if is_item else np.zeros(len(user))
    feed = sessions.FEED_SHARE * (1 - search) if is_item else np.ones(len(user))
    recent = truth.pages["recent"][page]
    none = np.full(len(user), -1)
    for k in range(share.shape[1]):
        use = users.interest_use[user, k]
        for leaf, part in (
            (users.interest_leaf[user, k], 1 - moved),
            (users.drift_leaf[user, k], moved),
        ):
            wanted = dataclasses.replace(
                intent, interest=np.full(len(user), k), focus_leaf=leaf, focus_use=use
            )
            entries = [(policy.FEED if is_item else policy.VIDEO, feed, none, none)]
            if is_item:
                entries.append((policy.NAVIGATE, 1 - search - feed, leaf, none))
                entries.append((policy.SEARCH, search, leaf, use))
            for entry, way, *said in entries:
                chance = share[:, k] * part * way
                rows = np.flatnonzero(chance > _UNLIKELY)
                if not len(rows):
                    continue
                asked = policy.make_request(
                    truth.world,
                    np.full(len(rows), entry),
                    request.time[rows],
                    (said[0][rows], said[1][rows], none[rows]),
                    recent[rows],
                    request.memory[rows],
                )
                yield rows, chance[rows], _rows(wanted, rows), asked


def _rows(intent: utility.Intent, rows: Ints) -> utility.Intent:
    """Returns the intents of some rows."""
    names = (field.name for field in dataclasses.fields(intent))
    return utility.Intent(**{name: getattr(intent, name)[rows] for name in names})
