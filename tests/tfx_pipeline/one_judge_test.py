"""`vitrine data validate`, the check before a run and the generator judge every log alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tfx_pipeline.components.timeline_example_gen.logs import dead_letters
from tests.tfx_pipeline.components.timeline_example_gen.logs import run
from tests.tfx_pipeline.judged_rows import ALL_CASES
from tests.tfx_pipeline.judged_rows import CASES
from tests.tfx_pipeline.judged_rows import DAY
from tests.tfx_pipeline.judged_rows import ITEMS
from tests.tfx_pipeline.judged_rows import NOON
from tests.tfx_pipeline.judged_rows import ROWS
from tests.tfx_pipeline.judged_rows import TERMS
from tests.tfx_pipeline.judged_rows import Change
from tests.tfx_pipeline.judged_rows import Columns
from tests.tfx_pipeline.judged_rows import Counts
from tests.tfx_pipeline.judged_rows import Log
from tests.tfx_pipeline.judged_rows import file_of
from tfx_pipeline.commands.data import validate_log
from tfx_pipeline.commands.log_check import check_log
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.config_file import load_config
from tfx_pipeline.datasets.rules import RULES
from tfx_pipeline.datasets.schemas import CATALOGUE
from tfx_pipeline.datasets.validate import inspect_event_log


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
