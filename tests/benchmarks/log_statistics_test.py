"""Figures of logs, by hand on small ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.log_statistics import figures
from benchmarks.log_statistics import read_log
from benchmarks.log_statistics import read_trivago
from tfx_pipeline.datasets.event_log import Manifest
from tfx_pipeline.datasets.event_log import write_event_log
from transforms.arrow import pa
from transforms.arrow import pq

MINUTE = 60_000_000


def test_figures_by_hand(tmp_path: Path) -> None:
    rows = [  # user, thing, event, minute
        ("u", "a", "pv", 0), ("u", "b", "pv", 20), ("u", "a", "cart", 49), ("u", "c", "pv", 200),
        ("v", "a", "pv", 0), ("v", "a", "buy", 1),
    ]  # fmt: skip
    user, thing, event, minute = (list(column) for column in zip(*rows, strict=True))
    n = len(rows)
    events = {
        "user_id": user, "entity_type": ["item"] * n, "entity_id": thing, "event": event,
        "timestamp": [MINUTE * m for m in minute], "ordinal": list(range(n)),
    }  # fmt: skip
    catalogue = {
        "entity_type": ["item"] * 3, "entity_id": ["a", "b", "c"],
        "categories": [["x", "y"], ["x", "z"], None],
    }  # fmt: skip
    manifest = Manifest(name="little", source="by hand")
    write_event_log(tmp_path / "log", manifest, pa.table(events), pa.table(catalogue))
    found = figures(read_log(tmp_path / "log"))
    assert (found["users"], found["things"], found["behaviours"]) == (2, 3, 6)
    assert (found["a_user"], found["median"], found["most"]) == (3, 3, 4)
    assert found["repeats"] == pytest.approx(2 / 6)
    assert (found["carts"], found["buys"]) == (25, 25) and "favourites" not in found
    # u comes at 0 (to 49 min) and at 200 min, v once; c has no category.
    assert (found["sessions_a_user"], found["once"], found["a_session"]) == (1.5, 0.5, 2)
    assert found["gini"] == pytest.approx(2 * (1 * 1 + 2 * 1 + 3 * 4) / (3 * 6) - 4 / 3)
    assert "shown" not in found


def test_categories_of_users_and_of_their_sessions() -> None:
    # One user, four sessions: categories 0 and 1 twice each, ten things each time.
    category = np.repeat([0, 0, 1, 1], 10)
    log = pd.DataFrame(
        {
            "user_id": "u", "thing": np.arange(40), "event": "click",
            "session_id": np.repeat(np.arange(4), 10), "category": category,
        }
    )  # fmt: skip
    found = figures(log)
    assert (found["categories"], found["categories_a_user"]) == (2, 2)
    assert found["effective"] == pytest.approx(2)
    assert found["same_next"] == pytest.approx(2 / 3)
    assert 0 <= found["same_other"] <= 1


def test_pages_of_trivago(tmp_path: Path) -> None:
    actions = {
        "user_id": ["u", "u", "v", "v"],
        "session_id": ["1", "1", "2", "2"],
        "timestamp": [1, 2, 3, 4],
        "step": [1, 2, 1, 2],
        "action_type": [
            "interaction item image", "clickout item", "search for destination", "clickout item",
        ],
        "reference": ["5", "7", "Rome", "6"],
        "impressions": [None, "5|7|9", None, "6|5"],
    }  # fmt: skip
    pq.write_table(pa.table(actions), tmp_path / "log.parquet")
    log = read_trivago(tmp_path / "log.parquet")
    assert log.event.value_counts().to_dict() == {"impression": 5, "click": 2, "look": 1}
    shown = log[log.event == "impression"]
    clicked = log[log.event == "click"]
    assert clicked.position.tolist() == [1, 0]
    assert shown.groupby("page_id", sort=False).size().tolist() == [3, 2]
    assert log[log.reference == "5"].thing.nunique() == 1
