"""Agreement of two rankings, up to ties and rounding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serving.client import Recommendation
from tfx_pipeline.components.serving_validator.checks import near


def difference(expected: Recommendation, received: Recommendation, tolerance: float) -> str:
    """Says how a ranking differs from another; nothing where it does not.

    Scores have to be near at every rank. An id may stand at another rank, or in
    the place of one that fell off the end, if its score there is near that of
    whom it changed places with.

    Args:
        expected: Best first.
        received: Best first.
        tolerance: See `near`.
    """
    if len(expected) != len(received):
        return f"{len(received)} items in place of {len(expected)}"
    far = np.flatnonzero(~near(expected.scores, received.scores, tolerance))
    if far.size:
        rank = int(far[0])
        return (
            f"at rank {rank + 1} the score {received.scores[rank]:.6g} in place of "
            f"{expected.scores[rank]:.6g}"
        )
    if len(set(received.ids)) != len(received):
        return "an item twice"
    score_of = dict(zip(expected.ids, expected.scores, strict=True))
    for rank, (name, other) in enumerate(zip(received.ids, expected.ids, strict=True)):
        if name == other:
            continue
        own = score_of.get(name, expected.scores[-1])  # it tied with the last, if anything
        if not near(np.asarray(own), received.scores[rank : rank + 1], tolerance)[0]:
            return f"at rank {rank + 1} `{name}` in place of `{other}`"
    return ""


def differences(
    expected: Sequence[Recommendation], received: Sequence[Recommendation], tolerance: float
) -> list[str]:
    """Returns the differences of many answers, with the number of the request."""
    found = []
    for number, (one, other) in enumerate(zip(expected, received, strict=True), 1):
        what = difference(one, other, tolerance)
        if what:
            found.append(f"request {number} has {what}")
    return found
