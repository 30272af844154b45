from __future__ import annotations

import numpy as np
import pytest

from serving.sources.config import ScoringConfig
from serving.sources.scoring import score
from tests.serving.sources.neighbours_test import lists


def test_by_hand():
    # a -> b .5, c .25; b -> a .75; d -> c 1.
    rows, scores = score(lists(), np.array([3, 1, -1, 0]), ScoringConfig(decay=0.5))
    assert rows.tolist() == [0, 1, 2]
    np.testing.assert_allclose(scores, [0.25 * 0.75, 0.5, 0.25 + 0.125])


def test_the_newest_events_alone_are_read():
    rows, scores = score(lists(), np.array([3, 1]), ScoringConfig(newest_events=1))
    assert rows.tolist() == [0] and scores.tolist() == [0.75]


@pytest.mark.parametrize("history", [[], [-1], [2]])
def test_nothing_to_go_by(history):
    rows, scores = score(lists(), np.array(history, np.int64), ScoringConfig())
    assert len(rows) == len(scores) == 0
