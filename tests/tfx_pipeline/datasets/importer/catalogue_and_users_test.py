"""Tables beside the events: from files of their own, or made of the events."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.imports import DAY
from tests.helpers.imports import START
from tests.helpers.imports import import_texts
from tests.helpers.imports import letters
from tests.helpers.imports import put
from tfx_pipeline.datasets.importer.catalogue_and_users import UserColumns

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
    found, log = import_texts(tmp_path, EVENTS, catalogue=CATALOGUE, items=items, request=loose)
    rows = log.read("catalogue").select(
        ["entity_id", "title", "categories", "attributes", "price", "available_from"]
    )
    assert [tuple(row.values()) for row in rows.to_pylist()] == [
        ("a", "Lamp; large", ["Home", "Light", "Table"], ["brand=Acme"], 12.5, None),
        ("b", None, ["Home"], ["colour=red"], None, None),
    ]
    place = {"table": "catalogue", "file": str(tmp_path / "catalogue.csv")}
    assert letters(log) == [
        {"row": 5, "reason": "entity_id is missing", "entity_type": "item", "title": "nameless"}
        | place,
        {"row": 4, "reason": "entity has a row already", "entity_type": "item", "entity_id": "a"}
        | {"title": "Lamp again", "categories": '["Home"]', "price": "3"}
        | place,
    ]
    assert (found.unknown_items, found.unknown_events) == (1, 1)
    assert log.manifest.notes["values_dropped"] == {
        "catalogue": {"price is negative or not finite": 1}
    }
    _, log = import_texts(
        tmp_path,
        EVENTS,
        catalogue=CATALOGUE.replace("soon", "2024-01-03"),
        items={"item": "sku", "available_from": "since"},
        request=loose,
    )
    times = log.read("catalogue").column("available_from").to_pylist()
    assert times == [(START - DAY) * 1_000_000, (START + DAY) * 1_000_000]


def test_old_items_and_those_to_come_have_times(tmp_path: Path) -> None:
    years = ["1961", "2024", "2027", "2099", "9999"]
    catalogue = "item,since\n" + "".join(f"{y},{y}-06-01\n" for y in years)
    events = f"user,item,time\n1,2024,{START}\n"
    found, log = import_texts(
        tmp_path, events, catalogue=catalogue, items={"available_from": "since"}
    )
    times = log.read("catalogue").column("available_from").cast("timestamp[us]").to_pylist()
    assert [time and time.year for time in times] == [None, 2024, 2027, 2099, None]
    assert found.left_out == (
        "  taken for missing, 2 of catalogue: available_from is out of range, e.g. `1961-06-01`"
    )


def test_users_of_their_own(tmp_path: Path) -> None:
    text = "age,id,town\n30,1,Bonn\n,2,\n31,1,Trier\n,,Ulm\n"
    users = {
        "users": UserColumns("id", ("age", "town")),
        "users_files": [put(tmp_path / "users.csv", text)],
        "max_dead_letter_fraction": 0.5,
    }
    _, log = import_texts(tmp_path, EVENTS, request=users)
    assert log.read("users").to_pylist() == [
        {"user_id": "1", "attributes": ["age=30", "town=Bonn"]},
        {"user_id": "2", "attributes": None},
    ]
    assert [(row["table"], row["row"], row["reason"]) for row in letters(log)] == [
        ("users", 5, "user_id is missing"),
        ("users", 4, "user has a row already"),
    ]
    assert [row["attributes"] for row in letters(log)] == [
        '["town=Ulm"]',
        '["age=31", "town=Trier"]',
    ]


def test_ids_of_events_and_catalogue_that_do_not_meet(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="4 of 4 events .* `item:a`, .*, the catalogue `item:007`"):
        import_texts(tmp_path, EVENTS, catalogue="item,name\n007,x\n")
    with pytest.raises(ValueError, match="files of the catalogue have no rows"):
        import_texts(tmp_path, EVENTS, catalogue="item,name\n")
    with pytest.raises(ValueError, match="catalogue.csv` has no column `sku`"):
        import_texts(tmp_path, EVENTS, catalogue="item,name\n007,x\n", items={"item": "sku"})


def test_a_catalogue_of_the_events(tmp_path: Path) -> None:
    first = {"available_from_first_event": True}
    _, log = import_texts(tmp_path, EVENTS, request=first)
    rows = log.read("catalogue").select(["entity_id", "available_from"]).to_pylist()
    start = START * 1_000_000
    assert [tuple(row.values()) for row in rows] == [("a", start), ("b", start), ("c", start)]
    text = f"user,item,time,group\n1,a,{START},x\n2,b,{START},\n3,a,{START},z\n"
    _, log = import_texts(tmp_path, text, items={"categories": ("group",)})
    rows = log.read("catalogue").select(["entity_id", "categories"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [("a", ["x"]), ("b", None)]
