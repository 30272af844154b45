"""Metrics of click prediction, exact, for the choice of an epoch."""

from __future__ import annotations

import numpy as np

EPSILON = 1e-7  # probabilities are clipped to [EPSILON, 1 - EPSILON] in the log loss


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Computes the area under the ROC curve: the share of pairs in the right order.

        AUC = (sum of the positives' ranks - P (P + 1) / 2) / (P N), ties share their ranks

    Args:
        labels: [n] 0 or 1.
        scores: [n].

    Returns:
        NaN when all labels are equal.
    """
    positives = float(labels.sum())
    negatives = labels.size - positives
    if not positives or not negatives:
        return float("nan")
    _, index, count = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(count)  # the greatest rank of each score
    rank = last[index] - (count[index] - 1) / 2.0
    above = float(rank[labels > 0].sum()) - positives * (positives + 1) / 2.0
    return above / (positives * negatives)


def grouped_auc(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> float:
    """Computes GAUC: the users' AUC, weighted by their rows (Zhu et al. 2017, eq. 11).

    Users whose labels are all equal have no AUC and are left out.

    Args:
        labels: [n] 0 or 1.
        scores: [n].
        groups: [n] int, the user of each row.

    Returns:
        NaN when no user has both labels.
    """
    order = order_by_score(groups, scores)
    labels, scores, groups = labels[order], scores[order], groups[order]
    first = _differs(groups)
    tied_first = first | _differs(scores)
    group, tie = np.cumsum(first) - 1, np.cumsum(tied_first) - 1
    rows, ties = np.bincount(group), np.bincount(tie)
    # Ranks within the group, from 1; equal scores have the mean of theirs.
    rank = np.flatnonzero(tied_first)[tie] - np.flatnonzero(first)[group] + (ties[tie] + 1) / 2.0
    positives = np.bincount(group, labels)
    pairs = positives * (rows - positives)
    above = np.bincount(group, rank * labels) - positives * (positives + 1) / 2.0
    both = pairs > 0
    if not both.any():
        return float("nan")
    return float(np.average(above[both] / pairs[both], weights=rows[both]))


def order_by_score(groups: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns [n] int64, the order by group and, within a group, by ascending score.

    One sort of integers, ten times as fast as `np.lexsort`; equal rows come in any order.
    """
    _, group = np.unique(groups, return_inverse=True)
    values, score = np.unique(scores, return_inverse=True)
    return np.argsort(group * values.size + score)


def _differs(values: np.ndarray) -> np.ndarray:
    """Returns [n] bool, whether a value differs from the one before it."""
    return np.append(True, values[1:] != values[:-1])[: values.size]


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Computes the mean of -log p(label), [n] each."""
    p = np.clip(probabilities.astype(np.float64), EPSILON, 1.0 - EPSILON)
    return float(-np.mean(labels * np.log(p) + (1.0 - labels) * np.log1p(-p)))


def calibration(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Computes the sum of the predictions over that of the labels; 1 is right on average.

    Args:
        labels: [n] 0 or 1.
        probabilities: [n].

    Returns:
        NaN without a positive.
    """
    positives = float(labels.sum(dtype=np.float64))
    return float(probabilities.sum(dtype=np.float64)) / positives if positives else float("nan")
