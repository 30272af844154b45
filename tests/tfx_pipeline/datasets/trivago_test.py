"""trivago's log: pages by hand, rows with every fault, and the real sample's counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tfx_pipeline.datasets import trivago
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.registry import prepare
from tfx_pipeline.datasets.validate import validate_event_log
from transforms.arrow import pq

SECOND = 1_000_000
BASE: dict[str, Any] = {
    "user_id": "U1",
    "session_id": "s1",
    "timestamp": 1_541_600_000,
    "step": 1,
    "action_type": "interaction item image",
    "reference": "7",
    "platform": "FR",
    "city": "Lyon, France",
    "device": "mobile",
    "current_filters": None,
    "impressions": None,
    "prices": None,
}
CLICK = {
    "action_type": "clickout item",
    "reference": "8",
    "impressions": "9|8",
    "prices": "70|81.5",
}


def write(folder: Path, *rows: dict[str, Any]) -> Path:
    text = dict.fromkeys(BASE, pa.string()) | {"timestamp": pa.int64(), "step": pa.int64()}
    columns = {
        name: pa.array([(BASE | row)[name] for row in rows], kind) for name, kind in text.items()
    }
    path = folder / "validation_100k.snappy.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def good(count: int) -> list[dict[str, Any]]:
    return [{"timestamp": 1_541_500_000 + i} for i in range(count)]


def test_a_click_out_becomes_a_page_and_what_follows_it(tmp_path: Path) -> None:
    search = {"action_type": "search for destination", "reference": "Lyon, France"}
    rows = [{}, CLICK | {"timestamp": 1_541_600_009, "current_filters": "Hotel|4 Star"}, search]
    manifest = prepare("trivago", tmp_path / "log", write(tmp_path, *rows))

    log = EventLog(tmp_path / "log")
    events = sorted(log.read("events").to_pylist(), key=lambda event: event["ordinal"])
    assert [(e["event"], e["entity_id"], e["position"], e["value"]) for e in events] == [
        ("image", "7", None, None),
        ("impression", "9", 0, 70.0),
        ("impression", "8", 1, 81.5),
        ("clickout", "8", None, None),
    ]
    assert [e["page_id"] for e in events] == [None, "1", "1", "1"]
    assert [e["query"] for e in events] == [None, *["Hotel, 4 Star"] * 3]
    assert {e["timestamp"] for e in events[1:]} == {1_541_600_009 * SECOND}
    assert {(e["user_id"], e["session_id"], e["entity_type"]) for e in events} == {
        ("U1", "s1", "hotel")
    }
    assert manifest.notes["rows_about_no_hotel"]["search for destination"] == 1
    problems = validate_event_log(tmp_path / "log")
    assert [p.kind for p in problems] == ["no-test-users"]  # one user is too few to test with


def test_hotels_and_users_are_as_they_were_first_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trivago, "_BLOCK", 1)  # blocks part every row from the next
    later = CLICK | {"prices": "1|2", "city": "Nice, France", "platform": "DE"}
    rows = [{"reference": "8"}, CLICK, later, {"user_id": "U2", "device": None}]
    prepare("trivago", tmp_path / "log", write(tmp_path, *rows))

    log = EventLog(tmp_path / "log")
    hotels = {row["entity_id"]: row for row in log.read("catalogue").to_pylist()}
    assert {name: row["price"] for name, row in hotels.items()} == {"9": 70.0, "8": 81.5, "7": None}
    assert {tuple(row["attributes"]) for row in hotels.values()} == {("city=Lyon, France",)}
    assert log.read("users").to_pylist() == [
        {"user_id": "U1", "attributes": ["platform=FR", "device=mobile"]},
        {"user_id": "U2", "attributes": ["platform=FR", "device="]},
    ]
    assert [e["page_id"] for e in log.read("events").to_pylist() if e["event"] == "clickout"] == [
        "1",
        "2",
    ]


FAULTS = {
    "no user or no time": {"timestamp": None},
    "unknown action": {"action_type": "stare"},
    "`reference` is no hotel's number": {"reference": "unknown"},
    "no list of hotels with a price each": CLICK | {"prices": "70"},
}


def test_rows_that_cannot_be_used_are_counted_with_their_reason(tmp_path: Path) -> None:
    bad = [
        *FAULTS.values(),
        CLICK | {"impressions": "9|x"},
        CLICK | {"impressions": None, "prices": None},
        CLICK | {"impressions": "|".join(["9"] * 64), "prices": "|".join(["1"] * 64)},
        {"action_type": None},
    ]
    manifest = prepare("trivago", tmp_path / "log", write(tmp_path, *good(800), *bad))

    assert manifest.events == 800
    assert manifest.notes["rows_left_out"] == dict.fromkeys(FAULTS, 1) | {
        "unknown action": 2,
        "no list of hotels with a price each": 4,
    }


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, *good(50), {"reference": "unknown"})
    with pytest.raises(ValueError, match="1 of 51 rows cannot be read"):
        prepare("trivago", tmp_path / "log", path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(ValueError, match="has no column .*impressions"):
        prepare("trivago", tmp_path / "log", path)
    path.write_bytes(b"user_id,session_id\n")
    with pytest.raises(ValueError, match="should be a Parquet file"):
        prepare("trivago", tmp_path / "log", path)


def test_the_real_sample_gives_its_known_counts(
    data_file: Callable[[str], Path], tmp_path: Path
) -> None:
    path = data_file("trivago/validation_100k.snappy.parquet")
    manifest = prepare("trivago", tmp_path / "log", path)

    assert (manifest.events, manifest.users) == (400_147, 6_593)
    assert manifest.entities == {"hotel": 107_603}
    assert manifest.notes["rows_left_out"] == {"`reference` is no hotel's number": 4}
    events = EventLog(tmp_path / "log").read("events", ["event"])
    counts = {row["values"]: row["counts"] for row in events["event"].value_counts().to_pylist()}
    assert (counts["clickout"], counts["impression"]) == (13_597, 312_539)
