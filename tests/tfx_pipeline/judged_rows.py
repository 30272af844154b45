"""Rows that a log may hold, and what becomes of each: left out, repaired or taken."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tests.tfx_pipeline.components.timeline_example_gen.logs import not_utf8
from tests.tfx_pipeline.components.timeline_example_gen.logs import picture
from tfx_pipeline.datasets.schemas import CATALOGUE
from tfx_pipeline.datasets.schemas import EVENTS
from tfx_pipeline.datasets.schemas import FEATURES
from tfx_pipeline.datasets.schemas import USERS

NOON = 1_700_000_000_000_000
DAY = 86_400_000_000
ROWS, ITEMS = 60, 10
PICTURE = picture()
_NUMBER = itertools.count()

Columns = dict[str, Any]
Counts = dict[str, dict[str, int]]
Change = Callable[["Log"], Any]


class Log:
    """A sound log of six users with ten events each on ten items, which a case changes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config: dict[str, Any] = {}
        self.manifest: dict[str, Any] | None = {"name": "toy"}
        self.events: Columns = {
            "user_id": [f"u{i % 6}" for i in range(ROWS)],
            "entity_type": ["item"] * ROWS,
            "entity_id": [str(i * 7 % ITEMS) for i in range(ROWS)],
            "event": ["view", "view", "buy"] * (ROWS // 3),
            "timestamp": [NOON + i * DAY // 2 for i in range(ROWS)],
            "ordinal": list(range(ROWS)),
        }
        self.catalogue: Columns = {
            "entity_type": ["item"] * ITEMS,
            "entity_id": [str(i) for i in range(ITEMS)],
            "image": [PICTURE] * ITEMS,
            "image_vector": [[1.0, 2.0]] * ITEMS,
        }
        self.users: Columns = {"user_id": ["u0", "u1"], "attributes": [["age=3"], None]}
        self.style: Columns = {
            "entity_type": ["item"] * 3,
            "entity_id": ["0", "1", "2"],
            "vector": [[1.0, 2.0]] * 3,
        }
        self.cluster: Columns = {
            "entity_type": ["item"],
            "entity_id": ["0"],
            "tokens": [["c1", "c2"]],
        }
        self.more: dict[str, pa.Table] = {}
        self.after: Callable[[Path], Any] = lambda root: None

    def write(self) -> Path:
        """Writes the tables, and further files by their names."""
        tables = {"events": self.events, "catalogue": self.catalogue, "users": self.users}
        tables |= {"features/style": self.style, "features/cluster": self.cluster}
        for name, columns in tables.items():
            (self.root / name).mkdir(parents=True)
            pq.write_table(pa.table(columns), self.root / name / "a.parquet", row_group_size=25)
        for name, rows in self.more.items():
            pq.write_table(rows, self.root / name)
        if self.manifest is not None:
            (self.root / "manifest.json").write_text(json.dumps(self.manifest))
        self.after(self.root)
        return self.root


class Case(NamedTuple):
    """Rows in a file of their own, and what becomes of them.

    Attributes:
        rows: The rows.
        left_out: Why they are left out, each for one reason; none is when empty.
        repaired: Why values are taken for null.
    """

    rows: pa.Table
    left_out: dict[str, int]
    repaired: dict[str, int] = {}


def rows(schema: pa.Schema, *all_of: Columns, **arrays: pa.Array) -> pa.Table:
    """Returns rows in the schema's types, but for columns that are given as they are."""
    names = list(dict.fromkeys([*(name for row in all_of for name in row), *arrays]))
    given = {name: pa.array([row.get(name) for row in all_of], schema.field(name).type)
             for name in names if name not in arrays}  # fmt: skip
    return pa.table({name: arrays.get(name, given.get(name)) for name in names})


def event(*changes: Columns, **arrays: pa.Array) -> pa.Table:
    event = {"user_id": "u0", "entity_type": "item", "entity_id": "0", "event": "view"}
    time = {"timestamp": NOON + DAY, "ordinal": 1_000}
    return rows(EVENTS, *({**event, **time, **change} for change in changes or [{}]), **arrays)


def item(*changes: Columns, **arrays: pa.Array) -> pa.Table:
    named = {"entity_type": "item"}
    more = ({**named, "entity_id": f"x{next(_NUMBER)}", **change} for change in changes or [{}])
    return rows(CATALOGUE, *more, **arrays)


def user(**change: Any) -> pa.Table:
    return rows(USERS, {"user_id": "u9", **change})


def style(*changes: Columns, **arrays: pa.Array) -> pa.Table:
    given = {"entity_type": "item", "entity_id": "5", "vector": [0.0, 1.0]}
    return rows(FEATURES, *({**given, **change} for change in changes or [{}]), **arrays)


def cluster(*changes: Columns, **arrays: pa.Array) -> pa.Table:
    given = {"entity_type": "item", "entity_id": "5", "tokens": ["c1"]}
    return rows(FEATURES, *({**given, **change} for change in changes or [{}]), **arrays)


def file_of(table: str, case: str) -> str:
    """The file of a case's rows, below the log's directory."""
    return f"{table.replace('.', '/')}/{case}.parquet"


def text(*values: str) -> pa.Array:
    return pa.array(values)


CASES: dict[str, dict[str, Case]] = {
    "events": {
        "null user": Case(event({"user_id": None}), {"user_id is missing": 1}),
        "empty entity": Case(event({"entity_id": ""}), {"entity_id is missing": 1}),
        "no event": Case(event({"event": None}), {"event is missing": 1}),
        "user not UTF-8": Case(event(user_id=not_utf8([b"\xff"])), {"user_id is not UTF-8": 1}),
        "colon in type": Case(event({"entity_type": "a:b"}), {"entity_type has a colon": 1}),
        "no time": Case(event({"timestamp": None}), {"timestamp is missing": 1}),
        "no day": Case(event(timestamp=text("2023-02-30")), {"timestamp is unparsable": 1}),
        "a day": Case(event(timestamp=text("2023-12-01")), {}),
        "to come": Case(event({"timestamp": 4 * 10**15}), {"timestamp is out of range": 1}),
        "seconds": Case(event({"timestamp": 17 * 10**8}), {"timestamp is out of range": 1}),
        "no ordinal": Case(event({"ordinal": None}), {"ordinal is missing": 1}),
        "unknown type": Case(event({"event": "sneeze"}), {"event is of an unknown type": 1}),
        "query": Case(event(query=not_utf8([b"\xff"])), {"query is not UTF-8": 1}),
        "no page": Case(event({"event": "impression"}), {"impression without page_id": 1}),
        "page": Case(event({"event": "impression", "page_id": "p"}), {}),
        "twice": Case(event({"ordinal": 5}, {"ordinal": 5}), {"duplicate of another event": 1}),
        "two of a time": Case(event({"ordinal": 6}, {"ordinal": 7}), {}),
        "nobody": Case(event({"entity_id": "?"}), {"entity is not in the catalogue": 1}),
        "nan": Case(event({"user_id": "nan", "ordinal": 8}), {}),
        "value": Case(
            event({"value": float("nan"), "ordinal": 9}, {"value": float("inf"), "ordinal": 10}),
            {},
            {"value is not finite": 2},
        ),
        "position": Case(event({"position": -3, "ordinal": 11}), {}, {"position is negative": 1}),
        "bad and repaired": Case(
            event({"position": -3, "user_id": None}), {"user_id is missing": 1}
        ),
    },
    "catalogue": {
        "twice": Case(item({"entity_id": "1"}), {"entity has a row already": 1}),
        "null id": Case(item({"entity_id": None}), {"entity_id is missing": 1}),
        "title": Case(item(title=not_utf8([b"\xe9"])), {"title is not UTF-8": 1}),
        "price": Case(
            item({"price": -1.0}, {"price": float("nan")}), {"price is negative or not finite": 2}
        ),
        "launch": Case(item({"available_from": 17 * 10**8}), {"available_from is out of range": 1}),
        "no day": Case(item(available_from=text("soon")), {"available_from is unparsable": 1}),
        "to come": Case(item({"available_from": 4 * 10**15}), {}),
        "ragged": Case(
            item({"image_vector": [1.0]}), {"image_vector is not as long as the first one": 1}
        ),
        "hole": Case(item({"image_vector": [1.0, None]}), {"image_vector is not finite": 1}),
        "another size": Case(
            item(image_vector=pa.array([[1.0, 2.0, 3.0]], pa.list_(pa.float32(), 3))),
            {"image_vector is not as long as the first one": 1},
        ),
        "junk": Case(item({"image": b"junk"}), {"image is not a whole JPEG or PNG file": 1}),
        "half": Case(
            item({"image": picture(64, 64, "JPEG")[:-200]}),
            {"image is not a whole JPEG or PNG file": 1},
        ),
        "huge": Case(item({"image": picture(5_000, 5_000)}), {"image is too large": 1}),
        "whole": Case(item({"image": picture(64, 64, "JPEG"), "image_vector": [0.0, 1.0]}), {}),
    },
    "users": {
        "twice": Case(user(user_id="u1"), {"user has a row already": 1}),
        "null id": Case(user(user_id=None), {"user_id is missing": 1}),
        "other": Case(user(user_id="u7"), {}),
    },
    "features.style": {
        "twice": Case(style({"entity_id": "1"}), {"entity has a row already": 1}),
        "null id": Case(style({"entity_id": None}), {"entity_id is missing": 1}),
        "colon in type": Case(style({"entity_type": "a:b"}), {"entity_type has a colon": 1}),
        "nobody": Case(style({"entity_id": "?"}), {"entity is not in the catalogue": 1}),
        "short": Case(
            style({"vector": [1.0]}, {"vector": []}), {"vector is not of the declared length": 2}
        ),
        "hole": Case(
            style({"vector": [1.0, None]}, {"vector": [1.0, float("inf")]}),
            {"vector is not finite": 2},
        ),
        "first is bad": Case(
            style({"entity_id": "6", "vector": [1.0]}, {"entity_id": "6"}),
            {"vector is not of the declared length": 1},
        ),
        "none": Case(style({"entity_id": "7", "vector": None}), {}),
        "of a fixed size": Case(
            style({"entity_id": "8"}, vector=pa.array([[1.0, 2.0]], pa.list_(pa.float64(), 2))),
            {},
        ),
    },
    "features.cluster": {
        "twice": Case(
            cluster({"entity_id": "4"}, {"entity_id": "4"}), {"entity has a row already": 1}
        ),
        "not UTF-8": Case(
            cluster(tokens=pa.ListArray.from_arrays([0, 1], not_utf8([b"\xff"]))),
            {"tokens is not UTF-8": 1},
        ),
        "several": Case(cluster({"tokens": ["c1", None, ""]}), {}),
    },
}
ALL_CASES = [(table, name) for table, cases in CASES.items() for name in cases]
# What the rows above are judged by.
TERMS = {
    "event_types": ["view", "buy", "impression"],
    "unknown_entities": "dead-letter",
    "catalogue_fields": {"vectors": {"style": 2}, "tokens": ["cluster"]},
}
