"""Rows that are left out: as they are written, counted, told and judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.datasets.importer.blocks import Broken
from tfx_pipeline.datasets.importer.dead_letters import DeadLetters


def column(*values: object) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values)])


def test_rows_are_written_with_what_they_held_and_where_it_stood(tmp_path: Path) -> None:
    with DeadLetters(tmp_path) as letters:
        columns = {"user_id": column(b"caf\xe9", None), "value": column(1.5, 2.0)}
        reasons = ["user_id is not UTF-8", "user_id is missing"]
        letters.add("events", "a.csv", columns, np.array([4, 9]), reasons)
        letters.add_broken("events", "a.csv", [Broken(11, "1 fields instead of 2", "x")])
        letters.add_broken("users", "b.csv", [])
    rows = pq.read_table(tmp_path / "dead_letter").to_pylist()
    assert [{k: v for k, v in row.items() if v is not None} for row in rows] == [
        {"user_id": "caf\\xe9", "value": "1.5", "table": "events", "file": "a.csv", "row": 4}
        | {"reason": "user_id is not UTF-8"},
        {"value": "2", "table": "events", "file": "a.csv", "row": 9}
        | {"reason": "user_id is missing"},
        {"text": "x", "table": "events", "file": "a.csv", "row": 11}
        | {"reason": "1 fields instead of 2"},
    ]
    assert letters.rows == {"events": 1, "users": 0}  # broken rows have been counted by no one else
    assert letters.notes() == {
        "rows_left_out": {"events": dict.fromkeys([*reasons, "1 fields instead of 2"], 1)}
    }
    assert "left out 1 of events: user_id is missing\n    e.g. a.csv, row 9: " in letters.text()


def test_a_share_may_be_reached_and_not_passed(tmp_path: Path) -> None:
    with DeadLetters(tmp_path) as letters:
        letters.rows["events"] = 99
        letters.add_broken("events", "a", [Broken(1, "broken", "x")])
        letters.require(0.01)  # 1 of 100
        letters.rows["users"] = 1_000_000  # another table makes no room
        letters.add_broken("events", "a", [Broken(2, "broken", "y")])
        with pytest.raises(ValueError, match="2 of 101 rows .* `--max-dead-letter-fraction` allow"):
            letters.require(0.01)


def test_dropped_values_are_counted_with_an_example(tmp_path: Path) -> None:
    with DeadLetters(tmp_path) as letters:
        bad = np.array([False, True, True])
        for _ in range(2):
            letters.repair("events", "value is not a number", bad, pa.array(["1", "2,5", "x"]))
        letters.repair("events", "never", np.zeros(3, bool), pa.array(["a", "b", "c"]))
        letters.repair("users", "age is not UTF-8", np.array([True]), pa.array([b"\xff"]))
    assert letters.notes() == {
        "values_dropped": {"events": {"value is not a number": 4}, "users": {"age is not UTF-8": 1}}
    }
    assert letters.text().split("\n") == [
        "  taken for missing, 4 of events: value is not a number, e.g. `2,5`; `--decimal-comma` "
        "reads it",
        "  taken for missing, 1 of users: age is not UTF-8, e.g. `\\xff`",
    ]
    assert not list(tmp_path.iterdir())  # no row, no folder
    letters.require(0.0)
