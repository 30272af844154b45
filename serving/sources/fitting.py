"""Learns the combination of sources, and compares it with each source alone.

A candidate's score is the product of its features with the weights of the bucket that its
user's history falls into. The loss is the cross-entropy of the softmax over a request's
candidates against the held-out item (listwise, as ListNet; Cao et al. 2007). Features are
divided by their deviation; with u the weights of all and w_b those of bucket b, the loss of
all examples gets

    smoothing / 2 * sum_b |w_b - u|^2 + shrinkage / 2 * |u|^2

and L-BFGS-B keeps the weights of `MONOTONE` features at 0 or above.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from serving.sources import features as f
from serving.sources.candidates import SOURCES
from serving.sources.config import FitConfig

JOINED = "joined"
GROUPS = ("without_history", "with_history")
# Metric of ranks [E, M] int (0 is the top) of targets that are there [E, M] bool.
Metric = Callable[[np.ndarray, np.ndarray], dict[str, float]]
_MISSED = 1 << 30  # rank of a target that no source brought
_FOLDS = 2
_STEPS = 100
_FACTORS = (1e-3, 1e3)  # of scores whose deviation is 1


@dataclass(frozen=True)
class Examples:
    """Requests whose answers are known, as the servable's own graph describes them.

    Attributes:
        features: [E, U, F] float32, 0 where a candidate is not real.
        real: [E, U] bool, which candidates are no padding and have finite features.
        sources: [E, U] int32, bits.
        bucket: [E] int32, of the history's length.
        target: [E, M] int32, where among the candidates a held-out item is, -1 if no source
            brought it.
        present: [E, M] bool, which of them are targets.
        user: [E] int64, a hash of the user.
    """

    features: np.ndarray
    real: np.ndarray
    sources: np.ndarray
    bucket: np.ndarray
    target: np.ndarray
    present: np.ndarray
    user: np.ndarray

    def where(self, chosen: np.ndarray) -> Examples:
        """Returns the examples that a [E] bool chooses."""
        return Examples(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    @property
    def group(self) -> np.ndarray:
        """[E] int, 0 without history and 1 with one: an index into `GROUPS`."""
        return np.minimum(self.bucket, 1)


def alone() -> dict[str, np.ndarray]:
    """Returns the weights [buckets, F] that are one source alone, by its name.

    Where a source says nothing, popularity decides.
    """
    single = {
        "tower": {f.TOWER: 1.0},
        "popularity": {f.POPULARITY: 1.0},
        "neighbours": {f.NEIGHBOURS: 1.0, f.POPULARITY: 1e-3},
        "repeats": {name: 20.0 - at for at, name in enumerate(f.REPEAT_STEPS)}
        | {f.REPEAT_RECENCY: 0.01, f.POPULARITY: 1e-3},
        "freshness": {f.FRESHNESS: 1.0, f.POPULARITY: 1e-3},
    }
    rows = {
        name: np.array([one.get(key, 0.0) for key in f.FEATURES], np.float32)
        for name, one in single.items()
    }
    return {name: np.tile(row, (len(f.BUCKETS), 1)) for name, row in rows.items()}


def choose(
    examples: Examples, config: FitConfig, metric: Metric, monitor: str
) -> tuple[np.ndarray, dict[str, Any]]:
    """Learns the combination, and takes a single source where that one is better.

    The combination is measured on users that it was not learned from: two halves of the users,
    each with weights that the other gave. What is exported is learned from all. Where a half has
    nothing to learn from, the best single source is taken; in a group without examples, the tower.
    A score is a logit of the softmax over a request's candidates, whatever was taken: weights of a
    single source, which order alike at any scale, get the likeliest one.

    Args:
        examples: Of the validation split.
        config: Strengths of smoothing and shrinkage.
        metric: Metrics of ranks.
        monitor: The metric that decides.

    Returns:
        [buckets, F] float32, and the report: `monitor`, `chosen` (by group), `validation`
        (metrics by group and candidate weights), `recall` (by group and source).
    """
    found = alone()
    scores = {name: _scores(examples, weights) for name, weights in found.items()}
    fold = examples.user % _FOLDS
    answered = (examples.target >= 0).any(axis=1)
    if len(np.unique(fold[answered])) == _FOLDS:
        scores[JOINED] = np.empty_like(scores["tower"])
        for held in range(_FOLDS):
            mine = fold == held
            scores[JOINED][mine] = _scores(examples.where(mine), fit(examples.where(~mine), config))
        found[JOINED] = fit(examples, config)
    weights = found["tower"].copy()
    report: dict[str, Any] = {"monitor": monitor, "chosen": {}, "validation": {}, "recall": {}}
    for number, group in enumerate(GROUPS):
        mine = examples.group == number
        if not mine.any():
            report["chosen"][group] = "tower"
            continue
        part = examples.where(mine)
        table = {
            name: metric(ranks(part, given[mine]), part.present) for name, given in scores.items()
        }
        best = max(table, key=lambda name: (table[name][monitor], name == JOINED))
        buckets = slice(0, 1) if number == 0 else slice(1, None)
        weights[buckets] = found[best][buckets]
        if best != JOINED:
            weights[buckets] *= scale_of(part, scores[best][mine])
        report["chosen"][group] = best
        report["validation"][group] = table
        report["recall"][group] = _recall(part)
    return weights, report


def fit(examples: Examples, config: FitConfig) -> np.ndarray:
    """Learns weights by the softmax cross-entropy; [buckets, F] float32.

    The loss sums over the targets that a source brought. Without any, the weights are those of
    the tower alone.
    """
    buckets = len(f.BUCKETS)
    found = _found(examples)
    answered = found.any(axis=1)
    if not answered.any():
        return alone()["tower"]
    count = found.sum()
    deviation = examples.features[examples.real].std(axis=0)  # [F]
    varies = np.flatnonzero(deviation > 1e-6)  # the others order nothing
    scale = deviation[varies]
    parts = []
    for bucket in range(buckets):
        mine = np.flatnonzero(answered & (examples.bucket == bucket))
        if len(mine):
            values = examples.features[mine].take(varies, axis=2) / scale  # [n, U, F']
            mask = np.where(examples.real[mine], 0.0, -np.inf).astype(np.float32)
            parts.append((bucket, values, mask, found[mine]))

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(buckets + 1, len(varies))
        away = weights[1:] - weights[0]  # [buckets, F]
        total = 0.5 * (config.smoothing * (away**2).sum())
        total += 0.5 * config.shrinkage * (weights[0] ** 2).sum()
        gradient = np.zeros_like(weights)
        gradient[1:] += config.smoothing * away
        gradient[0] += config.shrinkage * weights[0] - config.smoothing * away.sum(axis=0)
        for bucket, values, mask, targets in parts:
            value, slope = _cross_entropy(values, mask, targets, weights[bucket + 1])
            total += value
            gradient[bucket + 1] += slope
        return total / count, gradient.ravel() / count

    names = [f.FEATURES[column] for column in varies]
    bounds = [(0.0, None) if name in f.MONOTONE else (None, None) for name in names]
    start = np.tile([float(name == f.TOWER) for name in names], buckets + 1)
    options = {"maxiter": _STEPS, "ftol": 1e-7}
    every = bounds * (buckets + 1)
    least = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=every, options=options)
    weights = np.zeros((buckets, len(f.FEATURES)), np.float32)
    weights[:, varies] = least.x.reshape(buckets + 1, -1)[1:] / scale
    return weights


def scale_of(examples: Examples, scores: np.ndarray) -> float:
    """Returns the factor of [E, U] scores that makes their softmax the likeliest; above 0."""
    found = _found(examples)
    answered = found.any(axis=1)
    deviation = float(scores[examples.real].std()) if examples.real.any() else 0.0
    if not answered.any() or not deviation > 0.0:
        return 1.0
    real, found = examples.real[answered], found[answered]
    values = np.where(real, scores[answered] / deviation, 0.0).astype(np.float32)[:, :, None]
    mask = np.where(real, 0.0, -np.inf).astype(np.float32)

    def loss(factor: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _cross_entropy(values, mask, found, factor)
        return value / len(real), slope / len(real)

    least = minimize(loss, [1.0], jac=True, method="L-BFGS-B", bounds=[_FACTORS])
    return float(least.x[0]) / deviation


def _found(examples: Examples) -> np.ndarray:
    """Returns how many targets each candidate is: [E, U] float32."""
    owner, slot = np.nonzero(examples.target >= 0)
    found = np.zeros(examples.real.shape, np.float32)
    np.add.at(found, (owner, examples.target[owner, slot]), 1.0)
    return found


def _cross_entropy(
    values: np.ndarray, mask: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """Returns the summed loss of n examples and its slope.

    With m targets an example adds m logsumexp(logits) - sum of the targets' logits: memory does
    not grow with their number.

    Args:
        values: [n, U, F'] float32.
        mask: [n, U] float32, 0 for candidates, -inf in padding.
        targets: [n, U] float32, how many targets a candidate is.
        weights: [F'].
    """
    size = values.shape[2]
    logits = (values.reshape(-1, size) @ weights.astype(np.float32)).reshape(mask.shape) + mask
    logits -= logits.max(axis=1, keepdims=True)
    shares = np.exp(logits)
    total = shares.sum(axis=1, keepdims=True)
    count = targets.sum(axis=1, keepdims=True)
    value = float((count * np.log(total)).sum() - (targets * np.maximum(logits, -1e30)).sum())
    shares *= count / total
    shares -= targets
    return value, (shares.reshape(-1) @ values.reshape(-1, size)).astype(np.float64)


def ranks(examples: Examples, scores: np.ndarray) -> np.ndarray:
    """Ranks targets among the candidates of their request: [E, U] scores -> [E, M] int64.

    Of equal scores the earlier candidate is first, as the servable's top k has them.
    """
    found = np.full(examples.target.shape, _MISSED, np.int64)
    position = np.arange(scores.shape[1])
    for column in range(examples.target.shape[1]):
        at = examples.target[:, column]
        own = np.take_along_axis(scores, np.maximum(at, 0)[:, None], axis=1)  # [E, 1]
        above = (scores > own) | ((scores == own) & (position < at[:, None]))
        found[:, column] = np.where(at >= 0, above.sum(axis=1), _MISSED)
    return found


def _scores(examples: Examples, weights: np.ndarray) -> np.ndarray:
    """Returns [E, U] float32, -inf in padding."""
    scores = np.matmul(examples.features, weights[examples.bucket][:, :, None])[:, :, 0]
    return np.where(examples.real, scores, -np.inf).astype(np.float32)


def _recall(examples: Examples) -> dict[str, float]:
    """Returns the share of the targets that each source brought, and all of them together."""
    count = int(examples.present.sum())
    owner, column = np.nonzero(examples.target >= 0)
    bits = examples.sources[owner, examples.target[owner, column]]
    brought = {name: ((bits >> bit) & 1).sum() for bit, name in enumerate(SOURCES)}
    return {
        name: float(number) / count for name, number in {**brought, "union": len(owner)}.items()
    }
