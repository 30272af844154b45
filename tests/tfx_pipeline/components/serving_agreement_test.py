"""When two rankings are the same."""

from __future__ import annotations

import numpy as np
import pytest

from serving.client import Recommendation
from tfx_pipeline.components.serving_validator.checks import near
from tfx_pipeline.components.serving_validator.retrieval.agreement import difference
from tfx_pipeline.components.serving_validator.retrieval.agreement import differences


def ranking(**scores: float) -> Recommendation:
    return Recommendation(tuple(scores), np.array(list(scores.values()), np.float32), "m", 1)


EXPECTED = ranking(a=3.0, b=2.0, c=2.0, d=1.0)


@pytest.mark.parametrize(
    "received",
    [
        EXPECTED,
        ranking(a=3.0, c=2.0, b=2.0, d=1.0),  # two that tie change places
        ranking(a=3.0005, b=2.0, c=1.9995, d=1.0),  # rounding
        ranking(a=3.0, b=2.0, c=2.0, e=1.0),  # one that tied with the last and fell off the end
    ],
)
def test_the_same_up_to_ties(received):
    assert difference(EXPECTED, received, 1e-3) == ""


@pytest.mark.parametrize(
    ("received", "what"),
    [
        (ranking(a=3.0, b=2.0, c=2.0), "3 items in place of 4"),
        (ranking(a=3.0, b=2.0, c=2.0, d=1.1), "at rank 4 the score 1.1 in place of 1"),
        (ranking(b=3.0, a=2.0, c=2.0, d=1.0), "at rank 1 `b` in place of `a`"),
        (ranking(e=3.0, b=2.0, c=2.0, d=1.0), "at rank 1 `e` in place of `a`"),
        (Recommendation(("a", "b", "b", "d"), EXPECTED.scores, "m", 1), "an item twice"),
        (ranking(a=float("nan"), b=2.0, c=2.0, d=1.0), "at rank 1 the score nan in place of 3"),
    ],
)
def test_not_the_same(received, what):
    assert difference(EXPECTED, received, 1e-3) == what


def test_differences_name_the_request():
    wrong = ranking(a=3.0)
    assert differences([EXPECTED, EXPECTED], [EXPECTED, wrong], 1e-3) == [
        "request 2 has 1 items in place of 4"
    ]


def test_nearness_is_relative_above_one_and_absolute_below():
    expected = np.array([1000.0, 1000.0, 0.0, 0.0], np.float32)
    received = np.array([1000.9, 1001.1, 0.0009, 0.0011], np.float32)
    assert near(expected, received, 1e-3).tolist() == [True, False, True, False]
