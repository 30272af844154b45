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
    order = np.argsort(groups, kind="stable")
    labels, scores, groups = labels[order], scores[order], groups[order]
    starts = np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))
    bounds = np.append(starts, groups.size)
    total = weight = 0.0
    for start, end in zip(bounds[:-1], bounds[1:], strict=True):
        value = auc(labels[start:end], scores[start:end])
        if not np.isnan(value):
            total += value * (end - start)
            weight += end - start
    return total / weight if weight else float("nan")


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Computes the mean of -log p(label), [n] each."""
    p = np.clip(probabilities.astype(np.float64), EPSILON, 1.0 - EPSILON)
    return float(-np.mean(labels * np.log(p) + (1.0 - labels) * np.log1p(-p)))


def calibration(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Computes the sum of the predictions over that of the labels; 1 is right on average."""
    return float(probabilities.sum(dtype=np.float64) / max(float(labels.sum()), 1.0))
