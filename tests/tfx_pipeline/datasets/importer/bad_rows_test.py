"""Rows that cannot be read: their reasons, and how many of them an import bears."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.imports import START
from tests.helpers.imports import import_texts
from tests.helpers.imports import letters
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.importer.catalogue_and_users import CatalogueColumns
from tfx_pipeline.datasets.importer.event_rows import EventColumns
from tfx_pipeline.datasets.importer.import_log import import_log
from tfx_pipeline.datasets.importer.input_files import Reading
from tfx_pipeline.datasets.importer.request import ImportRequest

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
    found, log = import_texts(tmp_path, BAD, request=loose, **columns)
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
        8: "timestamp is of another kind (integers, milliseconds since 1970)",
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
        import_texts(tmp_path, BAD, **columns)
    assert EventLog(tmp_path / "log").read("events").num_rows == 4  # what was there stays


def test_times_of_another_kind_that_come_late_are_named(tmp_path: Path) -> None:
    rows = [f"1,a,{START}"] * 10_000 + [f"1,a,{START * 1000}"] * 200 + ["1,a,2024-01-02"] * 3
    with pytest.raises(ValueError, match=r"of another kind \(integers, milliseconds since 1970\)"):
        import_texts(tmp_path, "\n".join(["user,item,time", *rows]))
    loose = {"max_dead_letter_fraction": 0.1}
    _, log = import_texts(tmp_path, "\n".join(["user,item,time", *rows]), request=loose)
    assert log.manifest.notes["rows_left_out"]["events"] == {
        "timestamp is of another kind (integers, milliseconds since 1970)": 200,
        "timestamp is of another kind (dates, year first, read as UTC)": 3,
    }


def test_too_many_bad_rows_write_nothing(tmp_path: Path) -> None:
    text = "user,item,time\n" + f"1,a,{START}\n" * 50 + f",a,{START}\n"
    with pytest.raises(ValueError, match="1 of 51 rows of `events` are bad .*Reasons: user_id is"):
        import_texts(tmp_path, text)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.csv"]
    import_texts(tmp_path, text, request={"max_dead_letter_fraction": 0.02})


def test_a_wrong_column_is_said_after_the_first_block(tmp_path: Path) -> None:
    text = "user,item,time\n" + f",a,{START}\n" * 50
    reading = Reading(block_bytes=200)
    with pytest.raises(ValueError, match="of 1[0-9] rows of `events` are bad"):
        import_texts(tmp_path, text, request={"reading": reading})


def test_broken_rows_stop_after_the_first_block_too(tmp_path: Path) -> None:
    text = f"user,item,time\n1,a,{START}\n" + "2,b\n" * 200
    with pytest.raises(ValueError, match="of [1-9][0-9] rows of `events` are bad .* 2 fields"):
        import_texts(tmp_path, text, request={"reading": Reading(block_bytes=200)})


def test_empty_columns_and_files_without_rows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no row of events"):
        import_texts(tmp_path, "user,item,time\n")
    columns = {"value": "value", "position": "value", "items": {"price": "value"}}
    with pytest.raises(ValueError, match="1 of 1 rows of `events` .* 1 fields instead of 4"):
        import_texts(tmp_path, "user,item,time,value\n1\n", **columns)
    with pytest.raises(ValueError, match="Reasons: timestamp is missing: 2"):
        import_texts(tmp_path, "user,item,time\n1,a,\n2,b,\n")
    with pytest.raises(ValueError, match="has no column `value`"):
        import_texts(tmp_path, f"user,item,time\n1,a,{START}\n", value="value")
    text = f'user,item,time,value\n1,a,{START},"2,50"\n'
    found, _ = import_texts(tmp_path, text, value="value")
    assert "not a number, e.g. `2,50`; `--decimal-comma` reads it" in found.left_out
    found, _ = import_texts(tmp_path, f"user,item,time,value\n1,a,{START},1e39\n", value="value")
    assert "value is not finite, e.g. `1e39`" in found.left_out
    found, log = import_texts(tmp_path, text, value="value", decimal_comma=True)
    assert log.read("events").column("value").to_pylist() == [2.5] and not found.left_out
    _, log = import_texts(
        tmp_path, f"user,item,time,value\n1,a,{START},\n2,b,{START},\n", value="value"
    )
    assert log.read("events").column("value").null_count == 2


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


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_ids_are_trimmed_and_null_words_missing_in_every_format(tmp_path: Path, form: str) -> None:
    rows = [{"user": user, "item": "a"} for user in ("u5", " u5 ", "u5\u00a0", "NULL", " nan ")]
    path = tmp_path / f"a.{form}"
    if form == "csv":
        path.write_text("user,item\n" + "".join(f"{row['user']},a\n" for row in rows))
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    request = ImportRequest(
        [str(path)],
        tmp_path / "log",
        EventColumns("user", "item", None),
        CatalogueColumns("item"),
        max_dead_letter_fraction=0.5,
    )
    import_log(request)
    log = EventLog(tmp_path / "log")
    assert log.read("events").column("user_id").to_pylist() == ["u5"] * 3
    assert [row["reason"] for row in letters(log)] == ["user_id is missing"] * 2
