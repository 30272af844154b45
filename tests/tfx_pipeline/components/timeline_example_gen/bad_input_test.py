"""Bad rows become dead letters with a reason; bad files and too many bad rows are errors."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tfx_pipeline.components.timeline_example_gen.logs import dead_letters
from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import not_utf8
from tests.tfx_pipeline.components.timeline_example_gen.logs import of_user
from tests.tfx_pipeline.components.timeline_example_gen.logs import read_splits
from tests.tfx_pipeline.components.timeline_example_gen.logs import run
from tests.tfx_pipeline.components.timeline_example_gen.logs import timelines
from tests.tfx_pipeline.components.timeline_example_gen.logs import write_log

T = 1_700_000_000_000_000
GOOD = [event("ann", str(i), T + i) for i in range(6)]


def reasons(uri: Path) -> dict[str, int]:
    """How many dead letters there are for each reason."""
    counts: dict[str, int] = {}
    for row in dead_letters(uri):
        counts[row["reason"]] = counts.get(row["reason"], 0) + 1
    return counts


def test_each_bad_event_is_kept_with_its_reason_and_place(tmp_path: Path) -> None:
    bad = [
        event("", "1", T),
        event("u", "1", T) | {"user_id": None},
        event("u", "1", T) | {"entity_id": None},
        event("u", "1", T) | {"entity_type": ""},
        event("u", "1", T) | {"entity_type": "a:b"},
        event("u", "1", T) | {"event": None},
        event("u", "1", None),
        event("u", "1", -1),
        event("u", "1", T * 1_000),
        event("u", "1", T) | {"ordinal": None},
        event("u", "1", T, "impression"),
        event("u", "1", T, "sneeze"),
        event("ann", "3", T + 3),  # said before
    ]
    _, report = timelines(
        tmp_path,
        [*GOOD, *bad],
        log={"catalogue": [{"entity_type": "item", "entity_id": str(i)} for i in range(6)]},
        max_dead_letter_fraction=0.9,
        event_types=["watch", "impression"],
    )
    expected = {
        "user_id is missing": 2,
        "entity_id is missing": 1,
        "entity_type is missing": 1,
        "entity_type has a colon": 1,
        "event is missing": 1,
        "timestamp is missing": 1,
        "timestamp is out of range": 2,
        "ordinal is missing": 1,
        "impression without page_id": 1,
        "event is of an unknown type": 1,
        "duplicate of another event": 1,
    }
    assert report["dead_letters"] == {"events": expected}
    rows = dead_letters(tmp_path / "examples")
    assert reasons(tmp_path / "examples") == expected
    assert {row["row"] for row in rows} == set(range(6, 19))
    assert {(row["table"], row["file"]) for row in rows} == {
        ("events", "events/part-00000.parquet")
    }
    (sneeze,) = (row for row in rows if row["event"] == "sneeze")
    assert sneeze["timestamp"] == str(T) and sneeze["entity_id"] == "1"
    (duplicate,) = (row for row in rows if row["reason"].startswith("duplicate"))
    assert (duplicate["user_id"], duplicate["entity_type"], duplicate["entity_id"]) == (
        "ann",
        "item",
        "3",
    )
    assert report["events"]["kept"] == 6


def test_too_many_dead_letters_stop_the_run_and_say_why(tmp_path: Path) -> None:
    bad = [event("u", "1", None)] * 3 + [event("", "1", T)]
    with pytest.raises(ValueError) as error:
        timelines(tmp_path, [*GOOD, *bad], max_dead_letter_fraction=0.2)
    message = str(error.value)
    assert "4 of 10 rows of `events` are bad (40.0%)" in message
    assert "allows 20.0%" in message
    assert "timestamp is missing: 3, user_id is missing: 1" in message
    assert str(tmp_path / "examples" / "dead_letter") in message
    assert len(dead_letters(tmp_path / "examples")) == 4


def test_duplicates_need_not_be_neighbours_and_other_ties_stay(tmp_path: Path) -> None:
    tied = [event("u", name, T) for name in ("a", "b", "a", "c")]
    more = [event("u", "a", T, "cart"), event("u", "a", T, ordinal=1), event("u", "z", T + 1)]
    splits, report = timelines(tmp_path, [*tied, *more], max_dead_letter_fraction=1)
    test = splits["test"][0]
    assert test["event/entity"] == [f"item:{i}" for i in "abcaa"]
    assert test["event/type"] == ["watch", "watch", "watch", "cart", "watch"]
    assert report["dead_letters"] == {"events": {"duplicate of another event": 1}}


def test_text_that_is_not_utf8_is_a_dead_letter(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([e | {"query": "q"} for e in GOOD])
    users = not_utf8([b"ann"] * 5 + [b"\xff\xfe"])
    queries = not_utf8([b"\xc3\x28"] + [b"fine"] * 5)
    table = table.set_column(0, "user_id", users)
    table = table.set_column(table.schema.get_field_index("query"), "query", queries)
    catalogue = pa.table(
        {
            "entity_type": ["item"] * 3,
            "entity_id": ["0", "1", "2"],
            "title": not_utf8([b"Caf\xc3\xa9", b"Caf\xe9", b"Tea"]),
        }
    )
    log = write_log(tmp_path / "log", table, catalogue)
    report = run(log, tmp_path / "out", max_dead_letter_fraction=0.5)
    assert report["dead_letters"] == {
        "events": {"query is not UTF-8": 1, "user_id is not UTF-8": 1},
        "catalogue": {"title is not UTF-8": 1},
    }
    titles = [row["catalogue/title"][0] for row in read_splits(tmp_path / "out")["catalogue"]]
    assert titles == ["Café", "Tea"]
    assert {row.get("title") for row in dead_letters(tmp_path / "out")} == {None, "Caf\\xe9"}


def test_timestamps_come_in_many_types(tmp_path: Path) -> None:
    moment = datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=datetime.timezone.utc)
    texts = ["2023-11-14T22:13:20Z", str(T + 1), "2023-11-14 22:13:20.000002", "yesterday", None]
    for number, column in enumerate(
        (
            pa.array(texts),
            pa.array([moment + datetime.timedelta(microseconds=i) for i in range(3)]),
            pa.array([T + i for i in range(3)]).cast(pa.timestamp("us")).cast(pa.timestamp("ns")),
            pa.array([float(T + i) for i in range(3)]),
        )
    ):
        rows = pa.Table.from_pylist([event("u", str(i), 0) for i in range(len(column))])
        rows = rows.set_column(rows.schema.get_field_index("timestamp"), "timestamp", column)
        log = write_log(tmp_path / f"log{number}", rows)
        report = run(log, tmp_path / f"out{number}", max_dead_letter_fraction=1)
        (example,) = of_user(read_splits(tmp_path / f"out{number}")["test"], "u")
        assert example["event/timestamp"] + example["target/timestamp"] == [T, T + 1, T + 2]
        if number == 0:
            assert report["dead_letters"]["events"] == {
                "timestamp is missing": 1,
                "timestamp is unparsable": 1,
            }


def test_events_of_unknown_entities_are_kept_or_not(tmp_path: Path) -> None:
    log = {"catalogue": [{"entity_type": "item", "entity_id": str(i)} for i in range(5)]}
    splits, report = timelines(tmp_path, GOOD, log=log)
    assert splits["test"][0]["target/entity"] == ["item:5"]
    assert report["test"]["targets"]["not_in_catalogue"] == 1 and "dead_letters" not in report
    splits, report = timelines(
        tmp_path / "2", GOOD, log=log, unknown_entities="dead-letter", max_dead_letter_fraction=0.2
    )
    assert splits["test"][0]["target/entity"] == ["item:4"]
    assert report["dead_letters"]["events"] == {"entity is not in the catalogue": 1}


def test_buckets_may_lose_all_their_events(tmp_path: Path) -> None:
    strangers = [event(f"u{i}", "nobody knows", T) for i in range(30)]
    users = [{"user_id": f"u{i}"} for i in (1, 2, 3, 3)]
    _, report = timelines(
        tmp_path,
        [*GOOD, *strangers],
        log={
            "catalogue": [{"entity_type": "item", "entity_id": str(i)} for i in range(6)],
            "users": users,
        },
        buckets=20,
        unknown_entities="dead-letter",
        max_dead_letter_fraction=0.9,
    )
    assert report["events"]["kept"] == 6 and report["users"]["in_users_table"] == 3
    assert report["dead_letters"] == {
        "events": {"entity is not in the catalogue": 30},
        "users": {"user has a row already": 1},
    }


@pytest.mark.parametrize("column", ["user_id", "timestamp", "ordinal", "entity_type"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    rows = pa.Table.from_pylist(GOOD).drop([column])
    catalogue = [{"entity_type": "item", "entity_id": "0"}]
    log = write_log(tmp_path / "log", rows, catalogue)
    with pytest.raises(ValueError, match=rf"events\.{column}: The column is missing in 1 of 1"):
        run(log, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("user_id", [5] * 6),
        ("entity_id", [0.5] * 6),
        ("timestamp", [[1]] * 6),
        ("ordinal", ["1"] * 6),
        ("value", ["x"] * 6),
    ],
)
def test_a_column_of_a_wrong_type_is_named(tmp_path: Path, name: str, values: list[Any]) -> None:
    rows = pa.Table.from_pylist([e | {"value": 1.0} for e in GOOD])
    rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(values))
    log = write_log(tmp_path / "log", rows, [{"entity_type": "item", "entity_id": "0"}])
    with pytest.raises(ValueError, match=rf"events\.{name}: Found .*; expected .* Cast it"):
        run(log, tmp_path / "out")


def test_an_empty_catalogue_says_what_to_do(tmp_path: Path) -> None:
    none = pa.table(
        {"entity_type": pa.array([], pa.string()), "entity_id": pa.array([], pa.string())}
    )
    log = write_log(tmp_path / "log", GOOD, catalogue=none)
    with pytest.raises(ValueError, match="catalogue is empty.*Write one row"):
        run(log, tmp_path / "out")


def test_a_log_without_events_or_without_any_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not a directory"):
        run(tmp_path / "nowhere", tmp_path / "out")
    log = write_log(tmp_path / "log", pa.Table.from_pylist(GOOD).slice(0, 0), [event("u", "1", T)])
    with pytest.raises(ValueError, match="The table has no rows"):
        run(log, tmp_path / "out")
    (log / "events" / "part-00001.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(ValueError, match=r"not Parquet.*\n.*part-00001.parquet"):
        run(log, tmp_path / "out")


def test_columns_may_be_missing_or_of_other_widths(tmp_path: Path) -> None:
    rows = pa.table(
        {
            "user_id": pa.array([b"7"] * 5),
            "entity_type": pa.array(["item"] * 5).dictionary_encode(),
            "entity_id": pa.array([str(i) for i in range(5)], pa.large_string()),
            "event": pa.array(["watch"] * 5, pa.large_string()),
            "timestamp": pa.array([T + i for i in range(5)]),
            "ordinal": pa.array([0] * 5, pa.int32()),
            "value": pa.array([1.0, None, float("nan"), 2.5, 1.0], pa.float64()),
            "query": pa.nulls(5),
        }
    )
    log = write_log(tmp_path / "log", rows, [{"entity_type": "item", "entity_id": "0"}])
    pq.write_table(rows.drop(["value"]).slice(0, 2), log / "events" / "part-00001.parquet")
    report = run(log, tmp_path / "out", max_dead_letter_fraction=0.3)
    (test,) = read_splits(tmp_path / "out")["test"]
    assert test["user_id"] == ["7"] and test["event/entity"] == [f"item:{i}" for i in range(4)]
    assert test["event/value"] == [1.0, 0.0, 0.0, 2.5]
    assert report["repaired"] == {"events": {"value is not finite": 1}}
    assert report["dead_letters"]["events"] == {"duplicate of another event": 2}


def test_users_are_checked_too(tmp_path: Path) -> None:
    users = [
        {"user_id": "ann", "attributes": ["age=3", None]},
        {"user_id": None, "attributes": ["age=4"]},
        {"user_id": "ann", "attributes": ["age=5"]},
    ]
    splits, report = timelines(tmp_path, GOOD, log={"users": users}, max_dead_letter_fraction=0.7)
    assert splits["test"][0]["user/attributes"] == ["age=3"]
    assert report["dead_letters"] == {
        "users": {"user has a row already": 1, "user_id is missing": 1}
    }
    rows = dead_letters(tmp_path / "examples")
    assert {(row["row"], row["attributes"]) for row in rows} == {(1, '["age=4"]'), (2, '["age=5"]')}
