"""Whole imports of small files: what becomes of every row, and logs that a run can use."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from tests.helpers.imports import DAY
from tests.helpers.imports import START
from tests.helpers.imports import import_texts
from tests.helpers.imports import letters
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.event_log_writer import write_event_log
from tfx_pipeline.datasets.importer.catalogue_and_users import CatalogueColumns
from tfx_pipeline.datasets.importer.event_rows import EventColumns
from tfx_pipeline.datasets.importer.import_log import import_log
from tfx_pipeline.datasets.importer.input_files import Reading
from tfx_pipeline.datasets.importer.request import ImportRequest
from tfx_pipeline.datasets.importer.time_format import TimeOptions
from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.validate import validate_event_log


def test_a_small_log_row_by_row(tmp_path: Path) -> None:
    said: list[str] = []
    found, log = import_texts(
        tmp_path,
        f"item,user,time,kind,price\n007,1,{START},view,2.5\n8,1,{START + DAY},buy,\n",
        f"kind;price;user;item;time\nview;1e1;2;007;{(START + 2 * DAY) * 1000}\n"
        f"view;x;1;007;{(START + 3 * DAY) * 1000}\n",
        said=said,
        event="kind",
        value="price",
    )
    first = {"user_id": "1", "entity_type": "item", "entity_id": "007", "event": "view"}
    null = dict.fromkeys(["session_id", "page_id", "position", "query"])
    start = START * 1_000_000
    assert log.read("events").to_pylist() == [
        first | {"timestamp": start, "ordinal": 0, "value": 2.5} | null,
        first
        | {"entity_id": "8", "event": "buy", "timestamp": start + DAY * 1_000_000}
        | {"ordinal": 1, "value": None}
        | null,
        first
        | {"user_id": "2", "timestamp": start + 2 * DAY * 1_000_000, "ordinal": 2, "value": 10.0}
        | null,
        first | {"timestamp": start + 3 * DAY * 1_000_000, "ordinal": 3, "value": None} | null,
    ]
    assert log.read("catalogue").select(["entity_type", "entity_id"]).to_pylist() == [
        {"entity_type": "item", "entity_id": "007"},
        {"entity_type": "item", "entity_id": "8"},
    ]
    assert [line.partition(": ")[2] for line in said] == [
        "comma-separated, utf-8; time: integers, seconds since 1970",
        "semicolon-separated, utf-8; time: integers, milliseconds since 1970",
    ]
    assert (found.items, found.repeats) == (2, 0.25)
    assert "1 of events: value is not a number, e.g. `x`" in found.left_out
    assert found.span == (start, start + 3 * DAY * 1_000_000)
    manifest = log.manifest
    assert (manifest.events, manifest.users, manifest.entities) == (4, 2, {"item": 2})
    assert manifest.event_types == ["buy", "view"] and manifest.time == "real"
    assert manifest.notes["values_dropped"] == {"events": {"value is not a number": 1}}
    assert manifest.notes["times"]["time"][1] == "integers, milliseconds since 1970"
    assert not (log.path / "dead_letter").exists()
    assert all(problem.severity != "error" for problem in validate_event_log(log.path))


def test_options_of_times_go_for_the_columns_that_they_fit(tmp_path: Path) -> None:
    said: list[str] = []
    events = "user,item,time\n1,a,2024-07-02 10:00\n"
    columns = {"catalogue": f"item,since\na,{START * 1000}\n", "items": {"available_from": "since"}}
    times = TimeOptions(unit="ms", zone="Europe/Berlin")
    _, log = import_texts(tmp_path, events, said=said, request={"times": times}, **columns)
    assert [line.partition("utf-8; ")[2] for line in said] == [
        "since: integers, milliseconds since 1970",
        "time: dates, year first, read as Europe/Berlin",
    ]
    first = log.read("events").column("timestamp").cast("timestamp[us]")[0].as_py()
    assert first.isoformat() == "2024-07-02T08:00:00"
    assert log.read("catalogue").column("available_from").to_pylist() == [START * 1_000_000]
    unfit = {"times": TimeOptions(order="day-first")}
    with pytest.raises(ValueError, match="`--date-order day-first` fits no .* hold integers, mil"):
        import_texts(tmp_path, events, request=unfit, **columns)


def test_an_option_that_fits_no_column_stops_before_a_long_file_is_read(tmp_path: Path) -> None:
    text = "user,item,time\n" + f"1,a,{START}\n" * 50 + "1,a\n" * 50  # too many bad rows
    request = {"times": TimeOptions(zone="UTC"), "reading": Reading(block_bytes=200)}
    with pytest.raises(ValueError, match="`--time-zone UTC` fits no column of times"):
        import_texts(tmp_path, text, request=request)


def test_an_option_may_fit_a_late_value_alone(tmp_path: Path) -> None:
    said: list[str] = []
    text = "user,item,time,since\n" + f"1,a,{START},\n" * 50
    columns = {"items": {"available_from": "since"}, "said": said}
    columns["request"] = {
        "times": TimeOptions(zone="Europe/Berlin"),
        "reading": Reading(block_bytes=200),
    }
    _, log = import_texts(tmp_path, text + f"1,b,{START},2024-07-02 10:00\n", **columns)
    assert "time: integers, seconds since 1970; since: no time" in said[0]
    times = log.read("catalogue").column("available_from").cast("timestamp[us]").to_pylist()
    assert times[0] is None and times[1].isoformat() == "2024-07-02T08:00:00"
    with pytest.raises(ValueError, match="`--time-zone Europe/Berlin` fits no column"):
        import_texts(tmp_path, text, **columns)


def test_numbers_as_ids_stay_what_they_are(tmp_path: Path) -> None:
    times = [START, START, START]
    pq.write_table(
        pa.table({"user": [1.0, 2.0, None], "item": [7, 8, 9], "time": times}), tmp_path / "a"
    )
    request = ImportRequest(
        [str(tmp_path / "a")],
        tmp_path / "log",
        EventColumns("user", "item", "time"),
        CatalogueColumns("item"),
        max_dead_letter_fraction=0.5,
        overwrite=True,
    )
    import_log(request)
    log = EventLog(tmp_path / "log")
    assert log.read("events").column("user_id").to_pylist() == ["1", "2"]
    assert log.read("events").column("entity_id").to_pylist() == ["7", "8"]
    pq.write_table(
        pa.table({"user": [1.5, 2.0, 3.0], "item": [7, 8, 9], "time": times}), tmp_path / "a"
    )
    import_log(request)
    assert [row["reason"] for row in letters(log)] == ["user_id is not a whole number"]
    pq.write_table(pa.table({"user": [True], "item": [7], "time": [START]}), tmp_path / "a")
    with pytest.raises(ValueError, match="`user` of `.*` is of the type bool, which holds no ids"):
        import_log(request)
    whole, long = (pa.array([Decimal(n)], pa.decimal128(38, 0)) for n in (7, 10**30))
    pq.write_table(pa.table({"user": whole, "item": long, "time": [START]}), tmp_path / "a")
    import_log(request)
    row = EventLog(tmp_path / "log").read("events").to_pylist()[0]
    assert (row["user_id"], row["entity_id"]) == ("7", str(10**30))


def test_an_order_in_place_of_times(tmp_path: Path) -> None:
    _, log = import_texts(tmp_path, "user,item\n1,a\n1,b\n", "user,item\n1,c\n,d\n1,a\n", time=None,
                 request={"max_dead_letter_fraction": 0.5})  # fmt: skip
    assert log.manifest.time == "ordinal"
    events = log.read("events")
    assert events.column("entity_id").to_pylist() == ["a", "b", "c", "a"]
    assert events.column("timestamp").to_pylist() == [0, 1_000_000, 2_000_000, 4_000_000]
    assert events.column("ordinal").to_pylist() == [0, 1, 2, 4]
    assert all(problem.severity != "error" for problem in validate_event_log(log.path))


def test_columns_without_any_value_are_said(tmp_path: Path) -> None:
    texts = (
        f"user,item,time,stars,visit\n1,a,{START},,\n",
        f"user,item,time,stars,visit\n1,a,{START},5,NULL\n",
    )
    found, _ = import_texts(
        tmp_path,
        *texts,
        value="stars",
        session="visit",
        catalogue="item,name,cost\na,,\nb,,2\n",
        items={"title": "name", "price": "cost"},
    )
    assert found.remarks == [
        "`name` of the catalogue has no value in any row.",
        "`visit` of the events has no value in any row.",
    ]


def test_ids_in_two_forms_are_said(tmp_path: Path) -> None:
    found, log = import_texts(
        tmp_path, "user,item\n5,a\n5.0,b\n6,7.0\n", "user,item\n6,7\n", time=None
    )
    assert found.remarks == [
        f"1 numbers stand among the {kind} in two forms, e.g. `{number}.0` and `{number}`, which "
        "count as two: write them alike."
        for kind, number in (("users", 5), ("items", 7))
    ]
    assert log.read("events").column("user_id").to_pylist() == ["5", "5.0", "6", "6"]


def make_log(path: Path, rows: int = 500) -> EventLog:
    """Writes a log with every column that is imported."""
    random = np.random.default_rng(3)
    ids = random.integers(0, 40, rows)
    events = pa.table(
        {
            "user_id": [f"{user:03d}" for user in random.integers(0, 20, rows)],
            "entity_type": np.where(ids % 3 == 0, "video", "item"),
            "entity_id": [f"{i:04d}" for i in ids],
            "event": random.choice(["click", "buy, now", "impression"], rows),
            "timestamp": START * 1_000_000 + np.cumsum(random.integers(0, 10**9, rows)),
            "ordinal": np.arange(rows),
            "session_id": [f'"{n}" s' if n % 2 else None for n in range(rows)],
            "page_id": [f"p{n // 9}" for n in range(rows)],
            "position": pa.array(random.integers(0, 9, rows), pa.int32()),
            "query": [None if n % 4 else f"größe {n};\nx" for n in range(rows)],
            "value": pa.array(random.normal(size=rows), pa.float32()),
        }
    )
    kinds = np.where(np.arange(40) % 3 == 0, "video", "item")
    catalogue = pa.table(
        {
            "entity_type": kinds,
            "entity_id": [f"{i:04d}" for i in range(40)],
            "title": [f"Title {i}, {'x' * i}" for i in range(40)],
            "categories": [["a", f"b {i % 7}"] for i in range(40)],
            "attributes": [[f"brand=b{i % 3}"] if i % 5 else None for i in range(40)],
            "price": pa.array(np.arange(40) / 4, pa.float32()),
            "available_from": [START * 1_000_000 - i for i in range(40)],
        }
    )
    write_event_log(path, Manifest(name="log"), events, catalogue)
    return EventLog(path)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_an_exported_log_comes_back_the_same(tmp_path: Path, form: str) -> None:
    log = make_log(tmp_path / "exported")
    events = log.read("events")
    files = tmp_path / f"events.{form}"
    if form == "csv":
        csv.write_csv(events, files)
    elif form == "jsonl":
        events.to_pandas().to_json(files, orient="records", lines=True, double_precision=15)
    else:
        pq.write_table(events, files)
    import_log(
        ImportRequest(
            [str(files)],
            tmp_path / "imported",
            EventColumns(
                "user_id", "entity_id", "timestamp", "event", item_type_column="entity_type",
                session="session_id", page="page_id", position="position", query="query",
                value="value",
            ),
            CatalogueColumns(
                "entity_id", "entity_type", title="title", categories=("categories",),
                attributes=("attributes",), price="price", available_from="available_from",
            ),
            [str(tmp_path / "exported" / "catalogue")],
        )
    )  # fmt: skip
    back = EventLog(tmp_path / "imported")
    assert back.read("events").equals(events)
    assert back.read("catalogue").equals(log.read("catalogue"))
