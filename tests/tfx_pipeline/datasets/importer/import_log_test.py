"""Whole imports of small files: what becomes of every row, and logs that a run can use."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.event_log_writer import write_event_log
from tfx_pipeline.datasets.importer.catalogue_and_users import CatalogueColumns
from tfx_pipeline.datasets.importer.catalogue_and_users import UserColumns
from tfx_pipeline.datasets.importer.event_rows import EventColumns
from tfx_pipeline.datasets.importer.import_log import import_log
from tfx_pipeline.datasets.importer.input_files import Reading
from tfx_pipeline.datasets.importer.request import Imported
from tfx_pipeline.datasets.importer.request import ImportRequest
from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.validate import validate_event_log

DAY = 86_400
START = 1_704_153_600  # 2024-01-02 00:00:00 UTC


def put(path: Path, text: str) -> str:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def run(
    folder: Path,
    *texts: str,
    said: list[str] | None = None,
    catalogue: str | None = None,
    items: dict[str, Any] | None = None,
    request: dict[str, Any] | None = None,
    **columns: Any,
) -> tuple[Imported, EventLog]:
    """Imports CSV texts with the columns user, item and time, unless others are named."""
    files = [put(folder / f"{number}.csv", text) for number, text in enumerate(texts)]
    named = {"user": "user", "item": "item", "time": "time"} | columns
    found = import_log(
        ImportRequest(
            files,
            folder / "log",
            EventColumns(**named),
            CatalogueColumns(**({"item": named["item"]} | (items or {}))),
            [put(folder / "catalogue.csv", catalogue)] if catalogue else [],
            overwrite=True,
            **(request or {}),
        ),
        said.append if said is not None else print,
    )
    return found, EventLog(folder / "log")


def letters(log: EventLog) -> list[dict[str, Any]]:
    """Returns dead letters without what is null."""
    rows = pq.read_table(log.path / "dead_letter").to_pylist()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def test_a_small_log_row_by_row(tmp_path: Path) -> None:
    said: list[str] = []
    found, log = run(
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


BAD = f"""user,item,time,page,position,event
1,a,{START},p,0,impression
,b,{START},p,1,click
NULL,b,{START},p,1,click
2,,{START},p,1,click
3,c,,p,1,click
4,d,soon,p,1,click
5,e,{START * 1000},p,1,click
6,f,17,p,1,click
7,g,{START},,1,impression
8,h,{START},p,-1,click
9,i,{START},p,one,click
10,j,{START},p,1,
11,k
"12,l,{START},p,1,click
13,m,{START},p,1.0,click
"""


def test_every_bad_row_has_its_reason_file_and_row(tmp_path: Path) -> None:
    columns = {"event": "event", "page": "page", "position": "position"}
    loose = {"max_dead_letter_fraction": 0.9}
    found, log = run(tmp_path, BAD, request=loose, **columns)
    events = log.read("events").to_pylist()
    assert [(row["user_id"], row["position"], row["ordinal"]) for row in events] == [
        ("1", 0, 0),
        ("8", None, 9),
        ("9", None, 10),
        ("13", 1, 12),
    ]
    rows = letters(log)
    assert {row["row"]: row["reason"] for row in rows} == {
        3: "user_id is missing",
        4: "user_id is missing",
        5: "entity_id is missing",
        6: "timestamp is missing",
        7: "timestamp is unparsable",
        8: "timestamp is out of range",
        9: "timestamp is out of range",
        10: "impression without page_id",
        13: "event is missing",
        14: "2 fields instead of 6",
        15: "a quote is not closed",
    }
    kept = next(row for row in rows if row["row"] == 7)
    assert kept == {
        "user_id": "4",
        "entity_id": "d",
        "event": "click",
        "timestamp": "soon",
        "page_id": "p",
        "position": "1",
        "table": "events",
        "file": str(tmp_path / "0.csv"),
        "reason": "timestamp is unparsable",
        "row": 7,
    }
    assert next(row["text"] for row in rows if row["row"] == 14) == "11,k"
    assert log.manifest.notes["rows_left_out"]["events"]["user_id is missing"] == 2
    repaired = {"position is not a whole number from 0": 2}
    assert log.manifest.notes["values_dropped"] == {"events": repaired}
    assert "left out 2 of events: user_id is missing" in found.left_out
    assert f"{tmp_path}/0.csv, row 3: user_id=None, entity_id='b'" in found.left_out
    assert sum(map(len, [rows, events])) == BAD.count("\n") - 1
    with pytest.raises(ValueError, match="has times of several kinds"):
        run(tmp_path, BAD, **columns)
    assert EventLog(tmp_path / "log").read("events").num_rows == 4  # what was there stays


def test_too_many_bad_rows_write_nothing(tmp_path: Path) -> None:
    text = "user,item,time\n" + f"1,a,{START}\n" * 50 + f",a,{START}\n"
    with pytest.raises(ValueError, match="1 of 51 rows of `events` are bad .*Reasons: user_id is"):
        run(tmp_path, text)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.csv"]
    run(tmp_path, text, request={"max_dead_letter_fraction": 0.02})


def test_a_wrong_column_is_said_after_the_first_block(tmp_path: Path) -> None:
    text = "user,item,time\n" + f",a,{START}\n" * 50
    reading = Reading(block_bytes=200)
    with pytest.raises(ValueError, match="of 1[0-9] rows of `events` are bad"):
        run(tmp_path, text, request={"reading": reading})


def test_broken_rows_stop_after_the_first_block_too(tmp_path: Path) -> None:
    text = f"user,item,time\n1,a,{START}\n" + "2,b\n" * 200
    with pytest.raises(ValueError, match="of [1-9][0-9] rows of `events` are bad .* 2 fields"):
        run(tmp_path, text, request={"reading": Reading(block_bytes=200)})


def test_empty_columns_and_files_without_rows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no row of events"):
        run(tmp_path, "user,item,time\n")
    columns = {"value": "value", "position": "value", "items": {"price": "value"}}
    with pytest.raises(ValueError, match="1 of 1 rows of `events` .* 1 fields instead of 4"):
        run(tmp_path, "user,item,time,value\n1\n", **columns)
    with pytest.raises(ValueError, match="Reasons: timestamp is missing: 2"):
        run(tmp_path, "user,item,time\n1,a,\n2,b,\n")
    with pytest.raises(ValueError, match="has no column `value`"):
        run(tmp_path, f"user,item,time\n1,a,{START}\n", value="value")
    text = f'user,item,time,value\n1,a,{START},"2,50"\n'
    found, _ = run(tmp_path, text, value="value")
    assert "not a number, e.g. `2,50`; `--decimal-comma` reads it" in found.left_out
    found, _ = run(tmp_path, f"user,item,time,value\n1,a,{START},1e39\n", value="value")
    assert "value is not finite, e.g. `1e39`" in found.left_out
    found, log = run(tmp_path, text, value="value", decimal_comma=True)
    assert log.read("events").column("value").to_pylist() == [2.5] and not found.left_out
    _, log = run(tmp_path, f"user,item,time,value\n1,a,{START},\n2,b,{START},\n", value="value")
    assert log.read("events").column("value").null_count == 2


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


def test_records_in_place_of_values_are_refused(tmp_path: Path) -> None:
    record = [{"a": 1}]
    rows = {"user": [1], "item": [1], "time": [START], "record": record, "list": [record]}
    pq.write_table(pa.table(rows), tmp_path / "a")
    for columns, items in (
        ({"query": "record"}, {}),
        ({"value": "record"}, {}),
        ({"session": "record"}, {}),
        ({}, {"title": "record"}),
        ({}, {"price": "record"}),
        ({}, {"categories": ("list",)}),
    ):
        request = ImportRequest(
            [str(tmp_path / "a")],
            tmp_path / "log",
            EventColumns("user", "item", "time", **columns),
            CatalogueColumns("item", **items),
        )
        with pytest.raises(ValueError, match="`(record|list)` of `.*a` is of the type"):
            import_log(request)


def test_rows_that_are_not_utf8_are_left_out_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f"user,item,time\n1,caf\xe9,{START}\n2,b,{START}\n".encode("latin-1"))
    request = ImportRequest(
        [str(path)],
        tmp_path / "log",
        EventColumns("user", "item", "time"),
        CatalogueColumns("item"),
        reading=Reading(encoding="utf-8"),
        max_dead_letter_fraction=0.5,
    )
    import_log(request)
    log = EventLog(tmp_path / "log")
    assert log.read("events").column("user_id").to_pylist() == ["2"]
    assert [(row["reason"], row["row"]) for row in letters(log)] == [("entity_id is not UTF-8", 2)]


EVENTS = f"user,item,time\n1,a,{START + 9}\n1,b,{START}\n2,a,{START}\n2,c,{START}\n"
CATALOGUE = """sku;name;department;class;brand;colour;price;since
a;"Lamp; large";Home;Light|Table;Acme;;12,50;2024-01-01
b;;Home;;;red;-1;soon
a;Lamp again;Home;;;;3;2024-01-01
;nameless;;;;;;
"""


def test_a_catalogue_of_its_own(tmp_path: Path) -> None:
    items = {
        "item": "sku",
        "title": "name",
        "categories": ("department", "class"),
        "separator": "|",
        "brand": "brand",
        "attributes": ("colour",),
        "price": "price",
        "decimal_comma": True,
    }
    loose = {"max_dead_letter_fraction": 0.5}
    found, log = run(tmp_path, EVENTS, catalogue=CATALOGUE, items=items, request=loose)
    rows = log.read("catalogue").select(
        ["entity_id", "title", "categories", "attributes", "price", "available_from"]
    )
    assert [tuple(row.values()) for row in rows.to_pylist()] == [
        ("a", "Lamp; large", ["Home", "Light", "Table"], ["brand=Acme"], 12.5, None),
        ("b", None, ["Home"], ["colour=red"], None, None),
    ]
    assert [(row["row"], row["reason"]) for row in letters(log)] == [
        (5, "entity_id is missing"),
        (4, "entity has a row already"),
    ]
    assert (found.unknown_items, found.unknown_events) == (1, 1)
    assert log.manifest.notes["values_dropped"] == {
        "catalogue": {"price is negative or not finite": 1}
    }
    _, log = run(
        tmp_path,
        EVENTS,
        catalogue=CATALOGUE.replace("soon", "2024-01-03"),
        items={"item": "sku", "available_from": "since"},
        request=loose,
    )
    times = log.read("catalogue").column("available_from").to_pylist()
    assert times == [(START - DAY) * 1_000_000, (START + DAY) * 1_000_000]


def test_users_of_their_own(tmp_path: Path) -> None:
    text = "age,id,town\n30,1,Bonn\n,2,\n31,1,Trier\n,,Ulm\n"
    users = {
        "users": UserColumns("id", ("age", "town")),
        "users_files": [put(tmp_path / "users.csv", text)],
        "max_dead_letter_fraction": 0.5,
    }
    _, log = run(tmp_path, EVENTS, request=users)
    assert log.read("users").to_pylist() == [
        {"user_id": "1", "attributes": ["age=30", "town=Bonn"]},
        {"user_id": "2", "attributes": None},
    ]
    assert [(row["table"], row["row"], row["reason"]) for row in letters(log)] == [
        ("users", 5, "user_id is missing"),
        ("users", 4, "user has a row already"),
    ]


def test_ids_of_events_and_catalogue_that_do_not_meet(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="4 of 4 events .* `item:a`, .*, the catalogue `item:007`"):
        run(tmp_path, EVENTS, catalogue="item,name\n007,x\n")
    with pytest.raises(ValueError, match="files of the catalogue have no rows"):
        run(tmp_path, EVENTS, catalogue="item,name\n")
    with pytest.raises(ValueError, match="catalogue.csv` has no column `sku`"):
        run(tmp_path, EVENTS, catalogue="item,name\n007,x\n", items={"item": "sku"})


def test_a_catalogue_of_the_events(tmp_path: Path) -> None:
    first = {"available_from_first_event": True}
    _, log = run(tmp_path, EVENTS, request=first)
    rows = log.read("catalogue").select(["entity_id", "available_from"]).to_pylist()
    start = START * 1_000_000
    assert [tuple(row.values()) for row in rows] == [("a", start), ("b", start), ("c", start)]
    text = f"user,item,time,group\n1,a,{START},x\n2,b,{START},\n3,a,{START},z\n"
    _, log = run(tmp_path, text, items={"categories": ("group",)})
    rows = log.read("catalogue").select(["entity_id", "categories"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [("a", ["x"]), ("b", None)]


def test_an_order_in_place_of_times(tmp_path: Path) -> None:
    _, log = run(tmp_path, "user,item\n1,a\n1,b\n", "user,item\n1,c\n,d\n1,a\n", time=None,
                 request={"max_dead_letter_fraction": 0.5})  # fmt: skip
    assert log.manifest.time == "ordinal"
    events = log.read("events")
    assert events.column("entity_id").to_pylist() == ["a", "b", "c", "a"]
    assert events.column("timestamp").to_pylist() == [0, 1_000_000, 2_000_000, 4_000_000]
    assert events.column("ordinal").to_pylist() == [0, 1, 2, 4]
    assert all(problem.severity != "error" for problem in validate_event_log(log.path))


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
