"""`validate_event_log` on logs that are wrong in every way that people's logs are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tfx_pipeline.components.timeline_example_gen.logs import not_utf8
from tests.tfx_pipeline.components.timeline_example_gen.logs import picture
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.datasets.problem import Problem
from tfx_pipeline.datasets.validate import inspect_event_log
from tfx_pipeline.datasets.validate import validate_event_log

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


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A sound event log of 12 clicks by 3 users on 4 items."""
    root = tmp_path / "log"
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


def test_a_sound_log_has_no_problem(log: Path) -> None:
    assert validate_event_log(log) == []


def test_what_a_log_holds_is_counted(log: Path) -> None:
    put(log, "events", events(event=["view"] * 9 + ["buy"] * 3))
    put(log, "catalogue", catalogue(entity_type=["item"] * 3 + ["video"]))
    say(log, name="toy")
    found = inspect_event_log(log).summary
    assert (found.users, found.events) == (3, {"view": 9, "buy": 3})
    assert found.entities == {"item": 3, "video": 1}
    assert found.times == (NOON, NOON + 11)
    text = found.text(ordinal=False)
    assert "12 events (view 9, buy 3), from 2023-11-14 to 2023-11-14" in text
    assert "4 rows (item 3, video 1)" in text
    put(log, "events", events(user_id=[1] * 12))
    text = inspect_event_log(log).summary.text(ordinal=False)
    assert "users      0\n  events     none that can be read\n" in text
    put(log, "events", events(timestamp=["yesterday"] * 12))
    text = inspect_event_log(log).summary.text(ordinal=False)
    assert "none that can be read" in text  # for a run leaves them all out


def test_images_are_left_alone_when_nobody_asks(log: Path) -> None:
    put(log, "catalogue", catalogue(image=pa.array([b"no image"] * 4, pa.binary())))
    assert only(validate_event_log(log), "bad-image").count == 4
    assert inspect_event_log(log, images=False).problems == []


def test_types_that_convert_are_no_problem(log: Path) -> None:
    times = pa.array([NOON + i for i in range(12)]).cast(pa.timestamp("us", tz="UTC"))
    changed = events(
        timestamp=times.cast(pa.timestamp("ns", tz="UTC")),
        ordinal=pa.array(range(12), pa.int32()),
        user_id=pa.array([f"u{i % 3}" for i in range(12)]).dictionary_encode(),
        event=pa.array(["click"] * 12, pa.large_string()),
        entity_id=pa.array([str(i % 4).encode() for i in range(12)]),
        query=pa.nulls(12),
    )
    put(log, "events", changed)
    vector = pa.array([[1.0, 2.0], [0.0, 0.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float64(), 2))
    attributes = [[("brand", "a")], None, [], [("brand", "b"), ("colour", "red")]]
    changed = catalogue(
        title=pa.array([b"a", None, b"b", b"c"]),
        attributes=pa.array(attributes, pa.map_(pa.string(), pa.string())),
        categories=pa.array([["a"], [], None, ["b"]], pa.list_(pa.large_string())),
        price=pa.array([1, 2, None, 3]).cast(pa.decimal128(24, 2)),
        image_vector=vector,
    )
    put(log, "catalogue", changed)
    assert validate_event_log(log) == []


def test_partitioned_folders_are_read_and_what_a_writer_left_beside_them_is_not(log: Path) -> None:
    (log / "events" / "a.parquet").unlink()
    put(log, "events", events().slice(0, 5), "day=1/a.parquet")
    put(log, "events", events().slice(5), "day=2/a.parquet")
    (log / "events" / "_temporary").mkdir()
    (log / "events" / "_temporary" / "b.parquet").write_bytes(b"half")
    (log / "events" / "day=2" / "_SUCCESS").touch()
    assert validate_event_log(log) == []
    put(log, "events", events(event=["clik"] * 12).slice(0, 1), "day=2/b.parquet")
    assert of(validate_event_log(log), "unknown-event-type").samples[0]["file"] == (
        "events/day=2/b.parquet"
    )


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    problem = only(validate_event_log(tmp_path / "nowhere"), "missing-log")
    assert "events/*.parquet" in problem.message


def test_missing_tables_and_manifest(log: Path) -> None:
    for path in (log / "catalogue" / "a.parquet", log / "users" / "a.parquet"):
        path.unlink()
    (log / "manifest.json").unlink()
    problems = validate_event_log(log)
    found = [(p.severity, p.kind, p.table) for p in problems]
    assert found == [
        ("error", "missing-manifest", "log"),
        ("error", "missing-table", "catalogue"),
        ("info", "missing-users", "users"),
    ]
    assert '"time": "real"' in problems[0].message


def test_a_manifest_that_is_wrong(log: Path) -> None:
    say(log, name="toy", tme="real")
    assert "nearest is `time`" in only(validate_event_log(log), "bad-manifest").message
    say(log, name="toy", time="utc")
    message = only(validate_event_log(log), "bad-manifest").message
    assert "time: Input should be 'real' or 'ordinal'; received 'utc'." in message
    assert "pydantic" not in message and "\n" not in message


def test_missing_column_names_the_one_that_may_be_it(log: Path) -> None:
    put(log, "events", events().rename_columns(
        ["userId", "entity_type", "entity_id", "event", "timestamp", "ordinal"]
    ))  # fmt: skip
    problems = validate_event_log(log)
    missing = of(problems, "missing-column")
    assert (missing.severity, missing.column, missing.count) == ("error", "user_id", 12)
    assert "`userId`? Rename it" in missing.message
    assert missing.samples == ({"file": "events/a.parquet"},)
    assert of(problems, "unknown-column").column == "userId"


def test_wrong_type_is_named_and_other_columns_are_still_checked(log: Path) -> None:
    put(log, "events", events(user_id=[1.5] * 12, event=["clik"] + ["click"] * 11))
    problems = validate_event_log(log)
    wrong = of(problems, "wrong-type")
    assert (wrong.table, wrong.column, wrong.count) == ("events", "user_id", 12)
    assert "Found double in 1 file; expected string" in wrong.message
    put(log, "events", events())
    put(log, "catalogue", catalogue(price=["1", "2", "3", "4"], entity_type=["it:em"] * 4))
    problems = validate_event_log(log)
    assert of(problems, "wrong-type").column == "price"
    assert of(problems, "colon-in-type").count == 4


def test_ids_that_are_numbers_are_refused_with_the_cure(log: Path) -> None:
    put(log, "events", events(user_id=[i % 3 for i in range(12)]))
    put(log, "catalogue", catalogue(entity_id=[0, 1, 2, 3]))
    wrong = [p for p in validate_event_log(log) if p.kind == "wrong-type"]
    places = [(p.table, p.column) for p in wrong]
    assert places == [("events", "user_id"), ("catalogue", "entity_id")]
    assert "Found int64 in 1 file; expected string" in wrong[0].message
    assert '`df["user_id"] = df["user_id"].astype("string")`' in wrong[0].message


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


def test_a_column_that_is_in_a_file_twice(log: Path) -> None:
    columns = [*events().columns, pa.array(["x"] * 12)]
    rows = pa.Table.from_arrays(columns, [*events().column_names, "user_id"])
    put(log, "events", rows)
    problem = only(validate_event_log(log), "duplicate-column")
    assert (problem.column, problem.count) == ("user_id", 12)
    assert problem.samples == ({"file": "events/a.parquet"},)


def test_a_column_that_only_folders_name(log: Path) -> None:
    (log / "events" / "a.parquet").unlink()
    put(log, "events", events(event=None), "event=click/a.parquet")
    assert "write it into the files" in only(validate_event_log(log), "missing-column").message


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


def test_empty_catalogue_and_empty_events(log: Path) -> None:
    put(log, "catalogue", catalogue().slice(0, 0))
    assert only(validate_event_log(log), "empty-catalogue").severity == "error"
    put(log, "catalogue", catalogue())
    put(log, "events", events().slice(0, 0))
    assert only(validate_event_log(log), "empty-events").severity == "error"


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


def test_the_same_id_in_two_types_is_fine_and_two_rows_of_one_entity_are_not(log: Path) -> None:
    put(log, "catalogue", catalogue(entity_type=["item", "item", "item", "video"]), "b.parquet")
    problems = validate_event_log(log)
    shared, twice = of(problems, "shared-id"), of(problems, "duplicate-row")
    assert (shared.severity, shared.count) == ("info", 1)
    assert {s["entity_type"] for s in shared.samples} == {"item", "video"}
    assert (twice.severity, twice.count) == ("error", 3)
    put(log, "users", pa.table({"user_id": ["u0", "u0"]}))
    assert [p.table for p in validate_event_log(log) if p.kind == "duplicate-row"] == [
        "catalogue",
        "users",
    ]


def test_text_that_is_not_utf8(log: Path) -> None:
    title = not_utf8([b"ok", b"caf\xe9", None, b"ok"])
    put(log, "catalogue", catalogue(title=title))
    problem = only(validate_event_log(log), "not-utf8")
    assert (problem.severity, problem.column, problem.count) == ("error", "title", 1)
    assert problem.samples[0] == {
        "file": "catalogue/a.parquet",
        "row": 1,
        "title": b"caf\xe9",
        "entity_type": "item",
        "entity_id": "1",
    }
    assert "latin-1" in problem.message
    words = not_utf8([b"a=b", b"c=\xff", b"d=e"])
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 1, 2, 3], pa.int32()), words)
    put(log, "catalogue", catalogue(attributes=lists))
    problem = only(validate_event_log(log), "not-utf8")
    assert problem.samples[0]["row"] == 2
    assert problem.samples[0]["attributes"] == [b"c=\xff"]


def test_ids_that_are_not_utf8_or_null_or_empty(log: Path) -> None:
    put(log, "events", events(user_id=not_utf8([b"\xff"] + [b"u1", b"u2"] * 5 + [b"u1"])))
    problem = only(validate_event_log(log), "not-utf8")
    assert (problem.column, problem.samples[0]["user_id"]) == ("user_id", b"\xff")
    put(log, "events", events(entity_id=[None, "", *("0123456789"[:4] * 3)[:10]]))
    problem = only(validate_event_log(log), "null-id")
    assert (problem.severity, problem.column, problem.count) == ("error", "entity_id", 2)
    assert [s["entity_id"] for s in problem.samples] == [None, ""]


def test_bytes_columns_are_read_as_text(log: Path) -> None:
    put(log, "catalogue", catalogue(title=pa.array([b"a", b"\xff", None, b"d"], pa.binary())))
    assert only(validate_event_log(log), "not-utf8").samples[0]["row"] == 1


def test_files_that_are_not_whole_parquet(log: Path) -> None:
    whole = (log / "events" / "a.parquet").read_bytes()
    (log / "events" / "b.parquet").write_bytes(b"user_id,event\n")
    (log / "events" / "c.parquet").write_bytes(whole[: len(whole) // 2])
    (log / "events" / "d.parquet").write_bytes(b"")
    (log / "events" / "e.csv").write_bytes(b"user_id,event\n")
    problems = validate_event_log(log)
    assert [(p.severity, p.kind, p.samples[0]["file"]) for p in problems] == [
        ("error", "not-parquet", "events/b.parquet"),
        ("error", "truncated-file", "events/c.parquet"),
        ("error", "not-parquet", "events/d.parquet"),
        ("warning", "unread-file", "events/e.csv"),
    ]
    assert "starts with b'user'" in problems[0].message


def test_a_damaged_page_does_not_end_the_check(log: Path) -> None:
    path = log / "events" / "a.parquet"
    data = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(0).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + 60] = b"\xff" * 60
    path.write_bytes(bytes(data))
    assert of(validate_event_log(log), "damaged-file").severity == "error"


def test_prices_values_and_positions(log: Path) -> None:
    put(log, "catalogue", catalogue(price=[-1.0, float("nan"), float("inf"), 2.0]))
    problem = only(validate_event_log(log), "bad-price")
    assert (problem.severity, problem.count) == ("error", 3)
    assert problem.samples[0]["entity_id"] == "0"
    put(log, "catalogue", catalogue())
    value = [float("nan")] + [1.0] * 11
    put(log, "events", events(value=value, position=pa.array([-1] + [0] * 11, pa.int32())))
    problems = validate_event_log(log)
    assert of(problems, "bad-value").severity == "warning"
    assert of(problems, "bad-position").count == 1


def test_related_ids_and_attributes(log: Path) -> None:
    related = [["item:1", "item:9"], ["2"], None, ["item:0"]]
    put(log, "catalogue", catalogue(related_ids=related, attributes=[["red"], [], None, ["a=b"]]))
    problems = validate_event_log(log)
    lost, form = of(problems, "related-unknown"), of(problems, "related-form")
    assert (lost.severity, lost.count, lost.samples[0]["row"]) == ("warning", 1, 0)
    assert (form.severity, form.count, form.samples[0]["row"]) == ("warning", 1, 1)
    assert of(problems, "attribute-form").count == 1


def test_vectors(log: Path) -> None:
    vectors = pa.array([[1.0, 2.0], None, [1.0], [1.0, float("nan")]], pa.list_(pa.float32()))
    put(log, "catalogue", catalogue(image_vector=vectors))
    problems = validate_event_log(log)
    assert of(problems, "vector-length").samples[0]["row"] == 2
    assert of(problems, "vector-number").samples[0]["row"] == 3


def test_images(log: Path) -> None:
    images = [picture(form="JPEG"), picture()[:-30], b"GIF89a" + b"x" * 20, None]
    put(log, "catalogue", catalogue(image=pa.array(images, pa.binary())))
    problem = only(validate_event_log(log), "bad-image")
    assert (problem.severity, problem.count) == ("error", 2)
    assert [s["entity_id"] for s in problem.samples] == ["1", "2"]
    assert "image" not in problem.samples[0]
    images = [picture(5_000, 5_000), b"\xff\xd8" + b"x" * (5 << 20), picture(), None]
    put(log, "catalogue", catalogue(image=pa.array(images, pa.binary())))
    assert only(validate_event_log(log), "oversized-image").count == 2


def test_counts_that_differ_from_the_manifest(log: Path) -> None:
    say(log, name="toy", events=13, users=3, entities={"item": 4})
    assert "13 events, the files hold 12" in only(validate_event_log(log), "count-differs").message


def test_a_problem_prints_as_plain_text(log: Path) -> None:
    put(log, "events", events(event=["click"] * 11 + ["clik"]))
    lines = str(only(validate_event_log(log), "unknown-event-type")).splitlines()
    assert lines[0].startswith("error: events.event: 1 of 12 events are of a type")
    assert lines[1] == "    file='events/a.parquet', row=11, event='clik'"


def test_rows_are_counted_across_batches_and_files(log: Path) -> None:
    """Row numbers and sums stay right when a table comes in many pieces."""
    n = 300_000  # several batches of a file
    kinds = np.zeros(n, int)
    kinds[[5, 200_000, 299_999]] = 1
    many = pa.table(
        {
            "user_id": pa.array(np.arange(n) // 50).cast(pa.string()),
            "entity_type": pa.array(["item"]).take(pa.array(np.zeros(n, int))),
            "entity_id": pa.array(np.arange(n) % 4).cast(pa.string()),
            "event": pa.array(["click", "clik"]).take(pa.array(kinds)),
            "timestamp": NOON + np.arange(n),
            "ordinal": np.arange(n),
        }
    )
    put(log, "events", many, "b.parquet")
    problem = only(validate_event_log(log), "unknown-event-type")
    assert [s["row"] for s in problem.samples] == [5, 200_000, 299_999]
    assert "3 of 300,012 events" in problem.message


def test_rows_of_lists_are_right_beyond_the_first_batch(log: Path) -> None:
    n = 3_000
    attributes: list[list[str] | None] = [["a=b", "c=d"], None, []] * (n // 3)
    attributes[2_500] = ["a=b", "red"]
    related: list[list[str] | None] = [None] * n
    related[2_999] = ["item:7", "item:none"]
    many = pa.table(
        {
            "entity_type": ["item"] * n,
            "entity_id": [str(i) for i in range(n)],
            "attributes": attributes,
            "related_ids": pa.array(related, pa.list_(pa.string())),
        }
    )
    put(log, "catalogue", many)
    problems = validate_event_log(log)
    assert of(problems, "attribute-form").samples[0]["row"] == 2_500
    assert of(problems, "related-unknown").samples[0]["row"] == 2_999
