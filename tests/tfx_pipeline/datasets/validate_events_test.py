"""Times, users and entities of events that are wrong as people's are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.tfx_pipeline.datasets.small_log import NOON
from tests.tfx_pipeline.datasets.small_log import catalogue
from tests.tfx_pipeline.datasets.small_log import events
from tests.tfx_pipeline.datasets.small_log import of
from tests.tfx_pipeline.datasets.small_log import only
from tests.tfx_pipeline.datasets.small_log import put
from tests.tfx_pipeline.datasets.small_log import say
from tests.tfx_pipeline.datasets.small_log import sound_log
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.datasets.validate import validate_event_log


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return sound_log(tmp_path / "log")


def test_unparsable_timestamps(log: Path) -> None:
    put(log, "events", events(timestamp=["2023-11-14T22:13:20Z"] * 10 + ["yesterday", ""]))
    problems = validate_event_log(log)
    bad, guess = of(problems, "unparsable-time"), of(problems, "time-by-guess")
    assert (bad.severity, bad.column, bad.count) == ("error", "timestamp", 2)
    assert [s["timestamp"] for s in bad.samples] == ["yesterday", ""]
    assert [s["row"] for s in bad.samples] == [10, 11]
    assert (guess.severity, guess.count) == ("warning", 12)
    assert guess.samples[0]["timestamp"] == "2023-11-14T22:13:20Z"


def test_rows_without_a_readable_time_are_not_called_duplicates(log: Path) -> None:
    put(log, "events", events(timestamp=["yesterday"] * 10 + [None, None], user_id=["u"] * 12))
    kinds = {p.kind for p in validate_event_log(log)}
    assert kinds == {"unparsable-time", "null-time", "time-by-guess"}


def test_times_as_text_that_parse_are_only_remarked_on(log: Path) -> None:
    texts = ["2023-11-14", "2023-11-14 22:13", "2023-11-14T22:13:20.5+02:00", str(NOON)]
    put(log, "events", events(timestamp=texts * 3))
    kinds = [p.kind for p in validate_event_log(log) if p.kind != "duplicate-event"]
    assert kinds == ["time-by-guess"]


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        (pa.array([1.7e9 + i for i in range(12)]), "look like seconds"),
        (pa.array([1.7e12 + i for i in range(12)]), "look like milliseconds"),
        (pa.array([1_700_000_000 + i for i in range(12)]), "look like seconds"),
        (pa.array([10**18 * 17 // 10 + i for i in range(12)]), "look like nanoseconds"),
        (pa.array(["1700000000"] * 12), "look like seconds"),
        (pa.array(range(12)), '"time": "ordinal"'),
    ],
)
def test_times_in_another_unit(log: Path, values: pa.Array, hint: str) -> None:
    put(log, "events", events(timestamp=values))
    problem = of(validate_event_log(log), "time-out-of-range")
    assert (problem.severity, problem.column, problem.count) == ("error", "timestamp", 12)
    assert hint in problem.message


def test_times_that_are_no_numbers(log: Path) -> None:
    times = [float("nan"), float("inf"), None] + [float(NOON + i) for i in range(9)]
    put(log, "events", events(timestamp=times))
    problems = validate_event_log(log)
    assert of(problems, "unparsable-time").count == 2
    assert of(problems, "null-time").count == 1


def test_times_that_are_an_order_only(log: Path) -> None:
    say(log, name="toy", time="ordinal")
    put(log, "events", events(timestamp=list(range(12))))
    assert validate_event_log(log) == []
    put(log, "events", events(timestamp=[0] * 12))
    problem = only(validate_event_log(log), "one-time")
    assert (problem.severity, problem.count) == ("warning", 12)
    put(log, "events", events(timestamp=[0] * 12, ordinal=[0] * 12))
    assert of(validate_event_log(log), "no-order").severity == "error"
    put(log, "events", events(timestamp=[-1, *range(11)]))
    assert only(validate_event_log(log), "time-out-of-range").count == 1


def test_missing_times_and_times_to_come(log: Path) -> None:
    put(log, "events", events(timestamp=[None, 4 * NOON] + [NOON + i for i in range(10)]))
    problems = validate_event_log(log)
    assert of(problems, "null-time").samples[0]["row"] == 0
    assert of(problems, "time-out-of-range").samples[0]["row"] == 1


def test_unknown_event_type(log: Path) -> None:
    put(log, "events", events(event=["click"] * 11 + ["clik"]))
    problem = only(validate_event_log(log), "unknown-event-type")
    assert (problem.severity, problem.count) == ("error", 1)
    assert problem.samples == ({"file": "events/a.parquet", "row": 11, "event": "clik"},)
    assert validate_event_log(log, TimelineConfig(event_types=("click", "clik"))) == []
    problems = validate_event_log(log, TimelineConfig(event_types=("clik",)))
    assert of(problems, "unknown-event-type").count == 11


def test_a_user_with_one_event(log: Path) -> None:
    users = ["u0"] * 5 + ["u1"] * 6 + ["lonely"]
    put(log, "events", events(user_id=users))
    problem = only(validate_event_log(log), "single-event-user")
    assert (problem.severity, problem.count) == ("info", 1)
    assert problem.samples[0]["user_id"] == "lonely"


def test_impressions_do_not_make_a_user_active(log: Path) -> None:
    say(log, name="toy")
    kinds = ["impression"] * 11 + ["click"]
    put(log, "events", events(event=kinds, user_id=["u"] * 12, page_id=["p"] * 11 + [None]))
    problems = validate_event_log(log)
    assert [p.kind for p in problems] == ["no-test-users", "single-event-user"]
    assert "test users 0 (leave-last-out, min_target_events 3)" in problems[0].message
    put(log, "events", events(event=kinds, user_id=["u"] * 12))
    assert of(validate_event_log(log), "impression-without-page").count == 11


def test_duplicate_events_in_two_files(log: Path) -> None:
    put(log, "events", events().slice(3, 2), "b.parquet")
    problem = only(validate_event_log(log), "duplicate-event")
    assert (problem.severity, problem.count) == ("error", 2)
    assert [(s["file"], s["row"]) for s in problem.samples] == [
        ("events/b.parquet", 0),
        ("events/b.parquet", 1),
    ]


def test_events_that_differ_in_their_ordinal_alone_are_remarked_on(log: Path) -> None:
    again = events().slice(3, 2).set_column(5, "ordinal", pa.array([12, 13]))
    put(log, "events", again, "b.parquet")
    problem = only(validate_event_log(log), "repeated-event")
    assert (problem.severity, problem.count) == ("warning", 2)
    assert [s["row"] for s in problem.samples] == [0, 1]


def test_names_that_programs_write_for_what_is_missing(log: Path) -> None:
    put(log, "events", events(user_id=["nan"] * 4 + ["u1"] * 4 + ["None"] * 4))
    put(log, "catalogue", catalogue(title=["nan", "Nan bread", None, "<NA>"]))
    found = {(p.table, p.column): p for p in validate_event_log(log)}
    users, titles = found["events", "user_id"], found["catalogue", "title"]
    assert (users.kind, users.severity, users.count) == ("missing-as-text", "warning", 8)
    assert (titles.kind, titles.severity, titles.count) == ("missing-as-text", "warning", 2)
    assert [s["title"] for s in titles.samples] == ["nan", "<NA>"]


def test_a_user_with_a_hundred_thousand_events(log: Path) -> None:
    n = 100_000
    busy = pa.table(
        {
            "user_id": pa.array(["robot"]).take(pa.array(np.zeros(n, int))),
            "entity_type": pa.array(["item"]).take(pa.array(np.zeros(n, int))),
            "entity_id": pa.array(["0", "1"]).take(pa.array(np.arange(n) % 2)),
            "event": pa.array(["click"]).take(pa.array(np.zeros(n, int))),
            "timestamp": NOON + np.arange(n),
            "ordinal": np.arange(n),
        }
    )
    put(log, "events", busy, "b.parquet")
    problem = only(validate_event_log(log), "heavy-user")
    assert (problem.severity, problem.count) == ("info", 1)
    assert problem.samples == ({"file": "events/b.parquet", "row": 0, "user_id": "robot"},)
    assert "up to 100,000" in problem.message


def test_events_about_what_is_not_in_the_catalogue(log: Path) -> None:
    put(log, "catalogue", catalogue().slice(0, 3))
    problem = only(validate_event_log(log), "not-in-catalogue")
    assert (problem.severity, problem.count) == ("warning", 3)
    assert problem.samples[0] == {
        "file": "events/a.parquet",
        "row": 3,
        "entity_id": "3",
        "entity_type": "item",
    }


def test_ids_that_repeat_their_type_get_the_right_advice(log: Path) -> None:
    put(log, "events", events(entity_id=[f"item:{i % 4}" for i in range(12)]))
    problems = validate_event_log(log)
    assert [p.kind for p in problems] == ["nothing-matches", "type-in-id"]
    assert (problems[1].severity, problems[1].table, problems[1].count) == ("warning", "events", 12)
    assert "Write the id alone" in problems[1].message
    put(log, "catalogue", catalogue(entity_id=[f"item:{i}" for i in range(4)]))
    problem = only(validate_event_log(log), "type-in-id")
    assert (problem.severity, problem.table, problem.count) == ("warning", "catalogue", 4)
