"""Platt scaling: scores become probabilities on held-out rows."""

from __future__ import annotations

import numpy as np


def platt_scaling(
    logits: np.ndarray, labels: np.ndarray, steps: int = 50, ridge: float = 1e-6
) -> tuple[float, float]:
    """Fits p = sigmoid(a logit + b) by maximum likelihood.

    (Platt 1999, without his change of the labels; Newton's method with halved steps.)

    Args:
        logits: [n] float.
        labels: [n] 0 or 1.
        steps: Most steps.
        ridge: Weight of (a - 1)^2 + b^2, which keeps separable data finite.

    Returns:
        a and b; 1 and 0 where all labels are equal or a would not be positive,
        for a calibration must not turn the order around.
    """
    if not 0 < labels.sum() < labels.size:
        return 1.0, 0.0
    x = np.stack([logits.astype(np.float64), np.ones(logits.size)], axis=1)  # [n, 2]
    start = np.array([1.0, 0.0])
    weight = start.copy()

    def objective(weight: np.ndarray) -> float:
        z = x @ weight
        return float(
            np.mean(np.logaddexp(0.0, z) - labels * z) + ridge * np.sum((weight - start) ** 2)
        )

    value = objective(weight)
    for _ in range(steps):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ weight, -500, 500)))
        gradient = x.T @ (p - labels) / labels.size + 2 * ridge * (weight - start)
        curvature = (x * (p * (1.0 - p))[:, None]).T @ x / labels.size + 2 * ridge * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        scale = 1.0
        while objective(weight - scale * step) > value and scale > 1e-6:
            scale /= 2
        weight = weight - scale * step
        new = objective(weight)
        if abs(value - new) < 1e-12:
            break
        value = new
    return (float(weight[0]), float(weight[1])) if weight[0] > 0 else (1.0, 0.0)
