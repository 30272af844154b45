"""Checks of a release candidate that every stage has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

NOTHING = "no valid answers to look at"


class Check(NamedTuple):
    """One requirement, with what was expected and received.

    `passed` is None where the failure of another check left nothing to look at.
    """

    name: str
    passed: bool | None
    expected: str
    received: str


def near(
    expected: npt.NDArray[np.float32], received: npt.NDArray[np.float32], tolerance: float
) -> npt.NDArray[np.bool_]:
    """Says of each number whether it is near enough; NaN never is.

    Args:
        expected: Any shape, float32.
        received: The same shape.
        tolerance: Relative to the larger of 1 and the expected number.
    """
    bound = tolerance * np.maximum(1.0, np.abs(expected))
    result: npt.NDArray[np.bool_] = np.abs(received - expected) <= bound
    return result


def near_probability(
    expected: npt.NDArray[np.float32], received: npt.NDArray[np.float32], tolerance: float
) -> npt.NDArray[np.bool_]:
    """Says of each probability whether its logit is near enough; NaN never is.

    Near p, a logit that is wrong by d moves the probability by d p (1 - p), the slope of the
    sigmoid. A slope below 1e-3 counts as 1e-3, for float32 rounds probabilities near 1.

    Args:
        expected: Any shape, float32, from 0 to 1.
        received: The same shape.
        tolerance: Of the logit.
    """
    bound = tolerance * np.maximum(1e-3, expected * (1.0 - expected))
    result: npt.NDArray[np.bool_] = np.abs(received - expected) <= bound
    return result


def latency(milliseconds: Sequence[float], bound: float | None) -> Check:
    """Compares the 99th percentile of the latency with its bound; None or 0 is no bound."""
    p99 = quantile(milliseconds, 99)
    wanted = f"a 99th percentile of at most {bound:g} ms (latency_p99_ms)" if bound else "no bound"
    if p99 is None:
        return Check("latency", None, wanted, NOTHING)
    return Check("latency", not bound or p99 <= bound, wanted, f"{p99:.2f} ms")


def quantile(milliseconds: Sequence[float], percent: float) -> float | None:
    """Returns a percentile; nothing of nothing."""
    return float(np.percentile(milliseconds, percent)) if milliseconds else None


def listed(found: Sequence[str], otherwise: str) -> str:
    """Returns the first of what was found and how many there are."""
    if not found:
        return otherwise
    return found[0] + (f", and {len(found) - 1} more" if len(found) > 1 else "")
