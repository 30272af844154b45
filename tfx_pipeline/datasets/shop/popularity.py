"""Popularity: a power law over entities that drifts with time."""

from __future__ import annotations

import numpy as np

from tfx_pipeline.datasets.shop.config import DAY
from tfx_pipeline.datasets.shop.world import PERIOD_DAYS
from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import Ints
from tfx_pipeline.datasets.shop.world import settle

EXPONENT = 0.8  # of the weight of an entity in its rank
_RANK_OFFSET = 10.0
_WALK = 0.18  # standard deviation of a period's step, entity by entity
_TREND = 0.25  # the same for whole uses and leaves
_NOVELTY = 0.8  # log weight of a launch, halved every ten days
_NOVELTY_DAYS = 10.0


def draw_popularity(
    rng: np.random.Generator,
    launch: Ints,
    leaf: Ints,
    use: Ints,
    quality: Floats,
    n_periods: int,
) -> tuple[Floats, Floats]:
    """Draws the popularity of entities in each period.

    log w_i(p) = -s log(rank_i + 10) + walk_i(p) + trend_leaf(p) + trend_use(p)
                 + novelty 2^(-age / 10 days),
    where better entities tend to have the smaller rank, and the entity's and
    the trends' walks are Gaussian.

    Args:
        rng: Source of randomness.
        launch: [N] microseconds since the log's start.
        leaf: [N] leaf category.
        use: [N] use.
        quality: [N] standardised quality.
        n_periods: Number of periods P.

    Returns:
        Standardised log popularity [P, N] and popularity weights [P, N].
    """
    n = len(launch)
    luck = rng.standard_normal(n) + 0.5 * quality
    rank = np.empty(n)
    rank[np.argsort(-luck, kind="stable")] = np.arange(n)
    log_weight = np.tile(-EXPONENT * np.log(rank + _RANK_OFFSET), (n_periods, 1))
    for group, scale in ((np.arange(n), _WALK), (leaf, _TREND), (use, _TREND)):
        steps = scale * rng.standard_normal((n_periods, int(group.max()) + 1))
        log_weight += np.cumsum(steps, axis=0)[:, group]
    middle = (np.arange(n_periods)[:, None] + 0.5) * PERIOD_DAYS * DAY
    age_days = np.maximum(middle - launch, 0) / DAY
    log_weight += _NOVELTY * np.exp2(-age_days / _NOVELTY_DAYS)
    log_weight = settle(log_weight)
    mean, deviation = log_weight.mean(), log_weight.std()
    return settle((log_weight - mean) / deviation), settle(1e3 * np.exp(log_weight))
