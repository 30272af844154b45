"""Files, folders and columns of event logs that are wrong as people's logs are."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tfx_pipeline.datasets.small_log import NOON
from tests.tfx_pipeline.datasets.small_log import catalogue
from tests.tfx_pipeline.datasets.small_log import events
from tests.tfx_pipeline.datasets.small_log import of
from tests.tfx_pipeline.datasets.small_log import only
from tests.tfx_pipeline.datasets.small_log import put
from tests.tfx_pipeline.datasets.small_log import sound_log
from tfx_pipeline.datasets.validate import validate_event_log


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return sound_log(tmp_path / "log")


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


def test_empty_catalogue_and_empty_events(log: Path) -> None:
    put(log, "catalogue", catalogue().slice(0, 0))
    assert only(validate_event_log(log), "empty-catalogue").severity == "error"
    put(log, "catalogue", catalogue())
    put(log, "events", events().slice(0, 0))
    assert only(validate_event_log(log), "empty-events").severity == "error"


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
