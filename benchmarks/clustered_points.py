"""Points around centres on a sphere: catalogues of embeddings whose shape is known."""

from __future__ import annotations

import numpy as np

CENTRES = 1_000
DIMENSION = 64
SIGMA = 0.6  # of the headline; 1.0 is harder
NO_CLUSTERS = float("inf")  # points on the sphere, without any centre
_ROWS = 100_000  # made at once


def make_centres(rng: np.random.Generator) -> np.ndarray:
    """Returns the centres, N(0, I): [C, d] float64."""
    return rng.normal(size=(CENTRES, DIMENSION))


def make_points(
    count: int, rng: np.random.Generator, centres: np.ndarray, sigma: float = SIGMA
) -> np.ndarray:
    """Makes points centre + sigma N(0, I), each of a random centre, of length 1.

    Args:
        count: How many.
        rng: Draws them.
        centres: [C, d].
        sigma: How far points scatter; `NO_CLUSTERS` leaves the centres out.

    Returns:
        [count, d] float32.
    """
    made = [
        _part(min(_ROWS, count - start), rng, centres, sigma) for start in range(0, count, _ROWS)
    ]
    return np.concatenate(made) if made else np.empty((0, centres.shape[1]), np.float32)


def _part(count: int, rng: np.random.Generator, centres: np.ndarray, sigma: float) -> np.ndarray:
    noise = rng.normal(size=(count, centres.shape[1]))
    if sigma == NO_CLUSTERS:
        points = noise
    else:
        points = centres[rng.integers(0, len(centres), count)] + sigma * noise
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
