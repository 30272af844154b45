"""Metrics of downstream tasks for resampled rows: NumPy alone.

Every metric takes how often each row was drawn, `weight` [S, n], and gives a value for each of
the S samples. A first row of ones is the metric itself, rows of multinomial counts are its
bootstrap. Values are those of the same metric over the rows that were drawn, each as often
as it was; ties count half. A sample in which a metric has no value (an AUC of one label) gives NaN.
"""

from __future__ import annotations

import numpy as np

SAMPLES = 200  # of a bootstrap


def draws(unit: np.ndarray, seed: int = 0, samples: int = SAMPLES) -> np.ndarray:
    """Draws units (users, items) with replacement, all rows of one together.

    Args:
        unit: [n] int64, the unit of each row.
        seed: Of the drawing.
        samples: S - 1.

    Returns:
        [S, n] float32: ones, then how often each row was drawn in each sample.
    """
    _, unit = np.unique(unit, return_inverse=True)
    count = int(unit.max(initial=-1)) + 1
    rng = np.random.default_rng(seed)
    drawn = np.ones((samples + 1, count), np.float32)
    if count:
        drawn[1:] = rng.multinomial(count, np.full(count, 1 / count), samples)
    return drawn[:, unit]


def mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Returns the mean of values [n] in each sample: [S] float64."""
    return _ratio(weight @ values.astype(np.float64), weight.sum(axis=1))


def auc(label: np.ndarray, score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Returns the share of pairs of a positive and a negative in the right order: [S].

    Args:
        label: [n] bool.
        score: [n] float.
        weight: [S, n].
    """
    order, starts = _groups(score)
    weight = weight[:, order].astype(np.float64)
    positive = _sums(weight * label[order], starts)  # [S, groups of ties]
    negative = _sums(weight * ~label[order], starts)
    below = np.cumsum(negative, axis=1) - negative / 2
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    return _ratio((positive * below).sum(axis=1), pairs)


def spearman(truth: np.ndarray, score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Returns the correlation of ranks, ties at the mean of theirs: [S]; 0 without variance."""
    weight = weight.astype(np.float64)
    total = weight.sum(axis=1, keepdims=True)
    centred = []
    for values in (truth, score):
        rank = _ranks(values, weight)
        centred.append(rank - (weight * rank).sum(axis=1, keepdims=True) / total)
    one, other = centred
    scale = np.sqrt((weight * one**2).sum(axis=1) * (weight * other**2).sum(axis=1))
    product = (weight * one * other).sum(axis=1)
    return np.divide(product, scale, out=np.zeros_like(product), where=scale > 1e-9)


def macro_f1(label: np.ndarray, predicted: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Returns the mean over classes of 2 TP / (labelled + predicted): [S].

    The classes are those of any label [n] int64; predictions [n] of others are wrong ones.
    """
    classes = np.unique(label)
    truth, chosen = (values[:, None] == classes for values in (label, predicted))
    weight = weight.astype(np.float64)
    hits = weight @ (truth & chosen)  # [S, C]
    labelled = weight @ truth
    size = labelled + weight @ chosen
    f1 = np.divide(2 * hits, size, out=np.zeros_like(hits), where=size > 0)
    return _ratio((f1 * (labelled > 0)).sum(axis=1), (labelled > 0).sum(axis=1))


def micro_f1(label: np.ndarray, predicted: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Returns 2 TP / (labelled + predicted) over all cells of [n, C] bool: [S]."""
    weight = weight.astype(np.float64)
    hits = weight @ (label & predicted).sum(axis=1)
    return _ratio(2 * hits, weight @ (label.sum(axis=1) + predicted.sum(axis=1)))


def ndcg(gain: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Returns the NDCG of each row's columns in the order of their scores: [n].

    Args:
        gain: [n, C], at least 0; linear gains. A row without any has 0.
        score: [n, C]; columns of equal scores come in the order of columns.
    """
    discount = 1 / np.log2(np.arange(gain.shape[1]) + 2)
    order = np.argsort(-score, axis=1, kind="stable")
    reached = np.take_along_axis(gain, order, axis=1) @ discount
    return _ratio(reached, -np.sort(-gain, axis=1) @ discount, 0.0)


def discounted_gain(rank: np.ndarray, k: int = 10) -> np.ndarray:
    """Returns the NDCG@k of one wanted item by its rank [n], from 0: [n]."""
    return np.where(rank < k, 1 / np.log2(rank + 2), 0)


def _ranks(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Returns the rank of each row among those drawn, ties at the mean of theirs: [S, n]."""
    order, starts = _groups(values)
    drawn = _sums(weight[:, order], starts)
    middle = np.cumsum(drawn, axis=1) - drawn / 2
    group = np.zeros(len(values), np.int64)
    group[starts[1:]] = 1
    rank = np.empty_like(weight)
    rank[:, order] = middle[:, np.cumsum(group)]
    return rank


def _groups(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the order of values, and where in it each distinct one begins."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(values[order]) > 0))
    return order, starts


def _sums(weight: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Returns the sums of columns [S, n] from each start to the next."""
    return weight if len(starts) == weight.shape[1] else np.add.reduceat(weight, starts, axis=1)


def _ratio(part: np.ndarray, whole: np.ndarray, empty: float = np.nan) -> np.ndarray:
    part = np.asarray(part, np.float64)
    return np.divide(part, whole, out=np.full_like(part, empty), where=np.asarray(whole) > 0)
