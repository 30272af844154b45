"""Scores of what comes with a history, by its neighbours."""

from __future__ import annotations

import numpy as np

from serving.sources.config import ScoringConfig
from serving.sources.neighbours import Neighbours


def score(
    lists: Neighbours, history: np.ndarray, config: ScoringConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Scores the neighbours of one history; see `ScoringConfig`.

    Args:
        lists: Neighbour lists.
        history: [n] int64 rows of counted events, oldest first; -1 is an entity without a
            row, which takes a step and adds nothing.
        config: How many events are read, and how they decay.

    Returns:
        [c] int64, different rows, ascending, and [c] float64, their scores, > 0.
    """
    newest = history[::-1][: config.newest_events]
    share = config.decay ** np.arange(len(newest))
    known = newest >= 0
    newest, share = newest[known], share[known]
    begin, end = lists.offsets[newest], lists.offsets[newest + 1]
    parts = [slice(*edge) for edge in zip(begin, end, strict=True)]
    if not parts:
        return np.empty(0, np.int64), np.empty(0)
    rows = np.concatenate([lists.neighbour[part] for part in parts])
    weight = np.concatenate([lists.weight[part] for part in parts]).astype(np.float64)
    found, inverse = np.unique(rows, return_inverse=True)
    return found.astype(np.int64), np.bincount(inverse, weight * np.repeat(share, end - begin))
