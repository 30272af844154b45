"""A small event log that is sound, for tests that put something wrong into it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.datasets.problem import Problem

NOON = 1_700_000_000_000_000  # microseconds, November 2023


def events(n: int = 12, **changed: Any) -> pa.Table:
    columns = {
        "user_id": [f"u{i % 3}" for i in range(n)],
        "entity_type": ["item"] * n,
        "entity_id": [str(i % 4) for i in range(n)],
        "event": ["click"] * n,
        "timestamp": [NOON + i for i in range(n)],
        "ordinal": list(range(n)),
    } | changed
    return pa.table({k: v for k, v in columns.items() if v is not None})


def catalogue(**changed: Any) -> pa.Table:
    columns = {
        "entity_type": ["item"] * 4,
        "entity_id": ["0", "1", "2", "3"],
        "title": ["red shoe", "blue shoe", None, "hat"],
        "attributes": [["brand=a"], None, [], ["brand=b", "colour=red"]],
        "price": [1.0, None, 0.0, 3.5],
    } | changed
    return pa.table({k: v for k, v in columns.items() if v is not None})


def sound_log(root: Path) -> Path:
    """Writes a sound event log of 12 clicks by 3 users on 4 items."""
    put(root, "events", events())
    put(root, "catalogue", catalogue())
    put(root, "users", pa.table({"user_id": ["u0"], "attributes": [["country=nl"]]}))
    say(root, name="toy", event_types=["click"])
    return root


def put(root: Path, table: str, rows: pa.Table, name: str = "a.parquet") -> Path:
    path = root / table / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path)
    return path


def say(root: Path, **manifest: Any) -> None:
    (root / "manifest.json").write_text(json.dumps(manifest))


def only(problems: list[Problem], kind: str) -> Problem:
    """Returns the one problem there is, which has to be of a kind."""
    assert [p.kind for p in problems] == [kind], [str(p) for p in problems]
    return problems[0]


def of(problems: list[Problem], kind: str) -> Problem:
    found = [p for p in problems if p.kind == kind]
    assert len(found) == 1, [str(p) for p in problems]
    return found[0]
