"""`vitrine data validate`, the check before a run and the generator judge every log alike."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tfx_pipeline.components.timeline_example_gen.logs import dead_letters
from tests.tfx_pipeline.components.timeline_example_gen.logs import not_utf8
from tests.tfx_pipeline.components.timeline_example_gen.logs import picture
from tests.tfx_pipeline.components.timeline_example_gen.logs import run
from tfx_pipeline.commands.data import validate_log
from tfx_pipeline.commands.log_check import check_log
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.config import load_config
from tfx_pipeline.datasets.rules import RULES
from tfx_pipeline.datasets.schemas import CATALOGUE
from tfx_pipeline.datasets.schemas import EVENTS
from tfx_pipeline.datasets.schemas import FEATURES
from tfx_pipeline.datasets.schemas import USERS
from tfx_pipeline.datasets.validate import inspect_event_log

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


def all_events(**columns: Any) -> Change:
    return lambda log: log.events.update(columns)


def configured(**config: Any) -> Change:
    return lambda log: log.config.update(config)


def on_disk(change: Callable[[Path], Any]) -> Change:
    return lambda log: setattr(log, "after", change)


def without(table: str, column: str) -> Callable[[Log], None]:
    return lambda log: getattr(log, table).pop(column)


def _duplicate_column(root: Path) -> None:
    rows = pq.read_table(root / "events" / "a.parquet")
    names = [*rows.column_names, "event"]
    twice = pa.Table.from_arrays([*rows.columns, rows["user_id"]], names)
    pq.write_table(twice, root / "events" / "a.parquet")


def _cut_off(root: Path) -> None:
    path = root / "events" / "a.parquet"
    path.write_bytes(path.read_bytes()[:-40])


def _empty(schema: pa.Schema) -> Columns:
    return {field.name: pa.array([], field.type) for field in schema}


def _one_bad_row(log: Log) -> None:
    log.events["user_id"][3] = None
    log.config["max_dead_letter_fraction"] = 0.01


TIMES = np.array([NOON + i * DAY // 2 for i in range(ROWS)])

REFUSED: dict[str, tuple[Change, str]] = {
    "all users null": (
        all_events(user_id=pa.array([None] * ROWS, pa.string())),
        "user_id is missing: 60",
    ),
    "all users of type null": (all_events(user_id=pa.nulls(ROWS)), "Found null"),
    "seconds": (all_events(timestamp=TIMES // 1_000_000), "timestamp is out of range: 60"),
    "milliseconds": (all_events(timestamp=TIMES // 1_000), "timestamp is out of range: 60"),
    "a bound of one's own": (configured(earliest=NOON + 1), "timestamp is out of range: 1"),
    "types of one's own": (configured(event_types=["view"]), "event is of an unknown type: 20"),
    "types of the manifest": (
        lambda log: log.manifest.update(event_types=["view"]),
        "event is of an unknown type: 20",
    ),
    "more bad rows than allowed": (_one_bad_row, "1 of 60 rows of `events` are bad"),
    "ids that match nothing": (
        all_events(entity_id=[f"{i % ITEMS}.0" for i in range(ROWS)]),
        "the catalogue `item:0`",
    ),
    "one event a user": (all_events(user_id=[f"u{i}" for i in range(ROWS)]), "target"),
    "no order at all": (
        all_events(timestamp=[NOON] * ROWS, ordinal=[0] * ROWS),
        "nothing says what a user did first",
    ),
    "a column twice": (on_disk(_duplicate_column), "several columns of this name"),
    "a column missing": (without("events", "ordinal"), "The column is missing"),
    "numbers as ids": (all_events(entity_id=list(range(ROWS))), "Found int64"),
    "no manifest": (lambda log: setattr(log, "manifest", None), "is missing"),
    "a manifest with a typing error": (
        lambda log: log.manifest.update(tme="real"),
        "nearest is `time`",
    ),
    "an empty catalogue": (
        lambda log: setattr(log, "catalogue", _empty(CATALOGUE)),
        "The catalogue is empty",
    ),
    "a file that is none": (
        on_disk(lambda root: (root / "events" / "b.parquet").write_bytes(b"user_id,event\n")),
        "not Parquet",
    ),
    "a file that was cut off": (on_disk(_cut_off), "incomplete or damaged"),
    "periods longer than the log": (
        configured(split="time-cut", validation_days=20, test_days=20),
        "periods leave a split empty",
    ),
    "a field without its table": (
        configured(catalogue_fields={"tokens": ["colour"]}),
        "no features/colour/*.parquet",
    ),
    "a field of another kind": (
        configured(catalogue_fields={"tokens": ["style"]}),
        "features.style.tokens: The column is missing",
    ),
    "a field of nobody": (
        lambda log: (
            log.style.update(entity_id=["0.0", "1.0", "2.0"]),
            log.config.update(catalogue_fields={"vectors": {"style": 2}}),
        ),
        "None of 3 rows in features/style is about an entity",
    ),
    "a field of another length": (
        configured(catalogue_fields={"vectors": {"style": 3}}),
        "vector is not of the declared length: 3",
    ),
    "an order cut by time": (
        lambda log: (
            log.manifest.update(time="ordinal"),
            log.config.update(split="time-cut", validation_days=2, test_days=2),
        ),
        "no moment divides it",
    ),
}


def verdicts(log: Log, tmp_path: Path) -> tuple[Any, bool, str, dict[str, Any] | str]:
    """What validation finds and thinks of a log, the check's complaint, the generator's answer."""
    root = log.write()
    timeline = {"include_images": True, "max_dead_letter_fraction": 0.0, **log.config}
    path = tmp_path / "toy.yaml"
    values = {"name": "toy", "log_dir": str(root), "run_dir": "x", "timeline": timeline}
    path.write_text(json.dumps(values))  # which is YAML
    config = load_config(str(path))
    found = inspect_event_log(root, config.timeline)
    _, usable = validate_log(root, str(path))
    complaint = ""
    try:
        check_log(config)
    except ValueError as error:
        complaint = str(error)
    try:
        return found, usable, complaint, run(root, tmp_path / "examples", **timeline)
    except (ValueError, FileNotFoundError) as error:
        return found, usable, complaint, str(error)


@pytest.mark.parametrize(("table", "name"), ALL_CASES)
def test_rows_are_judged_alone(tmp_path: Path, table: str, name: str) -> None:
    case = CASES[table][name]
    log = Log(tmp_path / "log")
    log.more = {file_of(table, name): case.rows}
    found = inspect_event_log(log.write(), TimelineConfig(**TERMS, max_dead_letter_fraction=1.0))
    assert not found.refusal
    assert found.left_out == ({table: case.left_out} if case.left_out else {})
    assert found.repaired == ({table: case.repaired} if case.repaired else {})


def test_all_three_leave_out_and_repair_the_same(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    log.config = {**TERMS, "max_dead_letter_fraction": 0.9}
    log.more = {file_of(table, name): CASES[table][name].rows for table, name in ALL_CASES}
    found, usable, complaint, report = verdicts(log, tmp_path)
    assert usable and not complaint and isinstance(report, dict), (complaint, report)
    assert found.left_out == report["dead_letters"] == _sums("left_out")
    assert found.repaired == report["repaired"] == _sums("repaired")
    letters: Counts = {}
    for row in dead_letters(tmp_path / "examples"):
        reasons = letters.setdefault(row["file"], {})
        reasons[row["reason"]] = reasons.get(row["reason"], 0) + 1
    assert letters == {
        file_of(table, name): CASES[table][name].left_out
        for table, name in ALL_CASES
        if CASES[table][name].left_out
    }
    (split,) = found.splits
    assert split.test == report["test"]["examples"] == 6
    assert split.validation == report["validation"]["examples"] == 6


def _sums(outcome: str) -> Counts:
    sums: Counts = {}
    for table, name in ALL_CASES:
        for why, count in getattr(CASES[table][name], outcome).items():
            of_table = sums.setdefault(table, {})
            of_table[why] = of_table.get(why, 0) + count
    return sums


@pytest.mark.parametrize("case", REFUSED)
def test_all_three_refuse_the_same_and_say_why(tmp_path: Path, case: str) -> None:
    change, why = REFUSED[case]
    log = Log(tmp_path / "log")
    change(log)
    found, usable, complaint, answer = verdicts(log, tmp_path)
    assert not usable
    assert isinstance(answer, str), "the generator took it"
    assert why in found.refusal and why in complaint and why in answer


def test_users_to_test_are_those_that_the_generator_finds(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    n = 4_000
    log = Log(tmp_path / "log")
    log.manifest = {"name": "toy"}
    kinds = np.array(["view", "buy", "impression"])
    log.events = {
        "user_id": [f"u{u}" for u in np.minimum(generator.geometric(0.01, n), 300)],
        "entity_type": np.array(["item", "video"])[generator.integers(0, 2, n)],
        "entity_id": [str(i) for i in generator.integers(0, ITEMS, n)],
        "event": kinds[generator.choice(3, n, p=[0.7, 0.1, 0.2])],
        "timestamp": NOON + generator.integers(0, 30, n) * DAY,
        "ordinal": generator.integers(0, 3, n),
        "page_id": ["p"] * n,
    }
    root = log.write()
    names = {"target_events": ("buy",), "candidate_types": ("item",)}
    days = {"split": "time-cut", "validation_days": 5, "test_days": 3, "min_history": 4}
    for number, config in enumerate((names, {**days, **names})):
        config = {"max_dead_letter_fraction": 1.0, **config}
        (split,) = inspect_event_log(root, TimelineConfig(**config)).splits
        report = run(root, tmp_path / f"examples{number}", **config)
        assert split.test == report["test"]["examples"] > 0
        assert split.validation == report["validation"]["examples"] > 0


def test_every_rule_that_leaves_rows_out_has_a_case() -> None:
    told = [rule.reason for rule in RULES.values() if rule.reason]
    cases = str([_sums("left_out"), _sums("repaired")])
    for text in told:
        assert text.replace("{column} ", "").replace("{row} ", "") in cases
