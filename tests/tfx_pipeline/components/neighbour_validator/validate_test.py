"""Verdicts on lists of three users, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from serving.index.embedding.records import split_files
from serving.sources.config import CountingConfig
from serving.sources.config import ListCheckConfig
from tests.helpers.sources import write_neighbours
from tests.tfx_pipeline.components.neighbour_builder.job_test import lists_of
from tests.tfx_pipeline.components.neighbour_builder.job_test import random_users
from tests.tfx_pipeline.components.neighbour_builder.job_test import write_log
from tfx_pipeline.components.neighbour_builder.entities import Entities
from tfx_pipeline.components.neighbour_validator.validate import draw
from tfx_pipeline.components.neighbour_validator.validate import validate
from transforms.arrow import pa

USERS = {
    "ann": [("item:a", "buy", 1), ("item:b", "buy", 2), ("item:c", "buy", 3)],
    "bob": [("item:a", "buy", 1), ("item:b", "buy", 2)],
    "eve": [("item:d", "buy", 1)],
}
# One event before an entity is half as much as one event after it; d is alone.
CONFIG = ListCheckConfig(window=1, backwards=0.5, cooccurrence=0.0, damping=2.0)
EVENTS = {"item:a": 2, "item:b": 2, "item:c": 1, "item:d": 1}
A_TO_B, B_TO_A = 2 / 4, 1 / 4
B_TO_C, C_TO_B = 1 / np.sqrt(4 * 3), 0.5 / np.sqrt(4 * 3)
LISTS = {
    "item:a": {"item:b": A_TO_B},
    "item:b": {"item:c": B_TO_C, "item:a": B_TO_A},
    "item:c": {"item:b": C_TO_B},
}


def judged(folder, lists=LISTS, events=EVENTS, users=USERS, **bounds):
    write_neighbours(folder / "lists", lists, events)
    log = write_log(folder / "log", users, files=2)
    config = CONFIG.model_copy(update=bounds)
    return validate(folder / "lists", split_files(log / "Split-train"), config)


def test_lists_that_are_right_are_blessed(tmp_path):
    assert judged(tmp_path) == {
        "blessed": True,
        "reasons": [],
        "recall": 1.0,
        "weight_error": 0.0,
        "coverage": 5 / 6,  # d's event is of an entity without a neighbour
        "other_counts": 0,
        "unknown_events": 0,
        "entities": 3,
        "cut": 0,
        "min_recall": 0.98,
        "max_weight_error": 0.01,
        "min_coverage": 0.0,
    }


def test_a_neighbour_that_is_missing_costs_recall(tmp_path):
    report = judged(tmp_path, LISTS | {"item:b": {"item:c": B_TO_C}})
    assert report["recall"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert report["weight_error"] == 0.0 and not report["blessed"]
    (reason,) = report["reasons"]
    assert reason.startswith("recall of the recounted neighbours is 0.8333, below min_recall")


def test_a_list_that_is_missing_costs_coverage_too(tmp_path):
    report = judged(tmp_path, {"item:a": LISTS["item:a"]}, min_coverage=0.5)
    assert report["recall"] == pytest.approx(1 / 3) and report["coverage"] == 2 / 6
    assert [reason.split()[0] for reason in report["reasons"]] == ["recall", "33.33%"]


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_weight_that_is_another_is_found(tmp_path, factor):
    report = judged(tmp_path, LISTS | {"item:c": {"item:b": C_TO_B * factor}})
    assert report["recall"] == 1.0
    assert report["weight_error"] == pytest.approx(0.2, abs=1e-3)  # float16
    assert "a weight differs from its recount by" in report["reasons"][0]


def test_a_neighbour_that_is_none_is_a_weight_that_is_wrong(tmp_path):
    report = judged(tmp_path, LISTS | {"item:d": {"item:a": 0.1}})
    assert report["weight_error"] == pytest.approx(1.0, abs=1e-3)


def test_neighbours_that_tie_at_the_end_of_a_list_are_as_good(tmp_path):
    users = {f"u{i}": [("item:a", "buy", 1), (f"item:{i}", "buy", 2)] for i in range(5)}
    events = {"item:a": 5} | {f"item:{i}": 1 for i in range(5)}
    root = np.sqrt(7 * 3)
    lists = {f"item:{i}": {"item:a": 0.5 / root} for i in range(5)}
    for best in (("item:0", "item:1"), ("item:2", "item:4")):
        some = lists | {"item:a": dict.fromkeys(best, 1 / root)}
        report = judged(tmp_path / best[0], some, events, users, neighbours=2)
        assert report["recall"] == 1.0 and report["blessed"]


def test_a_weight_that_files_may_have_cut_may_be_too_low_and_never_too_high(tmp_path):
    low = LISTS["item:b"] | {"item:a": B_TO_A / 2}
    report = judged(tmp_path / "low", LISTS | {"item:b": low}, partners=1)
    assert report["weight_error"] == 0.0 and report["cut"] == 1
    high = LISTS["item:b"] | {"item:c": B_TO_C * 2}
    report = judged(tmp_path / "high", LISTS | {"item:b": high}, partners=1)
    assert report["weight_error"] == pytest.approx(0.5, abs=1e-3)


def test_lists_of_other_timelines_are_not_blessed(tmp_path):
    users = USERS | {"new": [("item:d", "buy", 1), ("item:e", "buy", 2)]}
    report = judged(tmp_path, users=users)
    assert report["other_counts"] == 1 and report["unknown_events"] == 1
    assert report["reasons"][0].startswith("1 entities have other numbers of events")


@pytest.mark.parametrize(
    "options",
    [
        {"neighbours": 5},
        {"half_life_days": 0.5},  # most pairs are too old to weigh anything
        {"event_types": ("buy",), "candidate_types": ("item",), "cooccurrence_events": 3},
    ],
)
def test_lists_that_were_counted_are_those_of_the_recount(tmp_path, options):
    config = ListCheckConfig(**options)
    log = write_log(tmp_path / "log", random_users(seed=3))
    lists_of(log, config.section(CountingConfig))
    report = validate(log / "lists", split_files(log / "Split-train"), config)
    assert report["blessed"] and report["recall"] == 1.0 and report["weight_error"] == 0.0
    other = config.model_copy(update={"damping": 50.0})
    assert not validate(log / "lists", split_files(log / "Split-train"), other)["blessed"]


def test_popular_entities_are_drawn_and_any_others():
    names = pa.array([f"item:{i:04d}".encode() for i in range(1_000)])
    events = np.ones(1_000, np.int64)
    events[:20] = 10_000
    rows = draw(Entities(names, events, newest=0), 100)
    assert len(set(rows.tolist())) == 100
    assert set(range(20)) <= set(rows.tolist())
    np.testing.assert_array_equal(rows, draw(Entities(names, events, newest=0), 100))
    assert len(draw(Entities(names, events, newest=0), 5_000)) == 1_000
