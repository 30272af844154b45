"""The event log's writer and reader: round trips, shards, and nothing half-written."""

from __future__ import annotations

import os
from datetime import datetime
from datetime import timezone
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.datasets.event_log import CATALOGUE
from tfx_pipeline.datasets.event_log import EVENTS
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.event_log import EventLogShard
from tfx_pipeline.datasets.event_log import EventLogWriter
from tfx_pipeline.datasets.event_log import Manifest
from tfx_pipeline.datasets.event_log import write_event_log
from tfx_pipeline.datasets.schemas import ROW_GROUP_ROWS


def make_events(users: list[str], event: str = "click") -> pa.Table:
    n = len(users)
    return pa.table(
        {
            "user_id": users,
            "entity_type": ["item"] * n,
            "entity_id": [str(i % 3) for i in range(n)],
            "event": [event] * n,
            "timestamp": pa.array(range(n), pa.int64()),
            "ordinal": pa.array(range(n), pa.int64()),
        }
    )


def make_catalogue(ids: list[str], entity_type: str = "item") -> pa.Table:
    return pa.table(
        {
            "entity_type": [entity_type] * len(ids),
            "entity_id": ids,
            "categories": [["a", "b"]] * len(ids),
        }
    )


def test_round_trip_fills_optional_columns_and_counts(tmp_path: Path) -> None:
    manifest = write_event_log(
        tmp_path / "log",
        Manifest(name="toy", time="ordinal", notes={"why": "a test"}),
        [make_events(["a", "b", "a"]), make_events(["c"], event="buy")],
        [make_catalogue(["0", "1"]), make_catalogue(["0"], "video")],
        pa.table({"user_id": ["a"], "attributes": [["country=nl"]]}),
    )
    assert (manifest.events, manifest.users) == (4, 3)
    assert manifest.entities == {"item": 2, "video": 1}
    assert manifest.event_types == ["buy", "click"]
    log = EventLog(tmp_path / "log")
    assert log.manifest == manifest
    events = log.read("events")
    assert events.schema.equals(EVENTS)
    assert events.column("user_id").to_pylist() == ["a", "b", "a", "c"]
    assert events.column("query").null_count == 4
    assert log.read("catalogue", ["entity_id", "categories"]).column(1)[2].as_py() == ["a", "b"]
    assert log.read("users").to_pylist() == [{"user_id": "a", "attributes": ["country=nl"]}]


def test_tables_without_rows_keep_their_schema(tmp_path: Path) -> None:
    write_event_log(tmp_path / "log", Manifest(name="toy"), make_events(["a"]))
    log = EventLog(tmp_path / "log")
    assert pq.read_schema(log.catalogue_files()[0]).equals(CATALOGUE)
    assert log.read("catalogue").num_rows == 0


def test_small_writes_become_full_row_groups_in_order(tmp_path: Path) -> None:
    size = ROW_GROUP_ROWS["events"]
    n = 2 * size + 5
    users = pa.array(np.arange(n)).cast(pa.string())
    whole = make_events(["x"] * n).set_column(0, "user_id", users)
    pieces = (whole.slice(i, 9_999) for i in range(0, n, 9_999))
    write_event_log(tmp_path / "log", Manifest(name="toy"), pieces)
    groups = list(EventLog(tmp_path / "log").row_groups("events", ["user_id"]))
    assert [g.num_rows for g in groups] == [size, size, 5]
    assert pa.concat_tables(groups).column(0).combine_chunks().equals(users)


def test_timestamps_of_any_unit_become_microseconds(tmp_path: Path) -> None:
    moment = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)
    for unit in ("s", "ms", "us", "ns"):
        column = pa.array([moment], pa.timestamp(unit, tz="UTC"))
        events = make_events(["a"]).set_column(4, "timestamp", column)
        write_event_log(tmp_path / unit, Manifest(name="toy"), events)
        stamp = EventLog(tmp_path / unit).read("events").column("timestamp")[0].as_py()
        assert stamp == int(moment.timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (make_events(["a"]).drop(["ordinal"]), "needs the column `ordinal`"),
        (make_events(["a"]).append_column("colour", [["red"]]), r"no column \['colour'\]"),
        (
            make_events(["a"]).set_column(4, "timestamp", [["yesterday"]]),
            "`events.timestamp` must be int64; received string",
        ),
        (
            make_events(["a"]).set_column(0, "user_id", [pa.array([None], pa.string())]),
            "`events.user_id` may not be null; received 1 nulls",
        ),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_leave_nothing(
    tmp_path: Path, events: pa.Table, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_event_log(tmp_path / "log", Manifest(name="toy"), events)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_midway_leaves_the_old_log_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write_event_log(path, Manifest(name="old"), make_events(["a"]))
    before = EventLog(path).fingerprint()

    def stream():
        yield make_events(["b"])
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_event_log(path, Manifest(name="new"), stream(), overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["log"]
    assert EventLog(path).manifest.name == "old"
    assert EventLog(path).fingerprint() == before


def die_midway(path: Path) -> None:
    def stream():
        yield make_events(["b"])
        os._exit(9)  # as a killed process: nothing is cleaned up

    write_event_log(path, Manifest(name="new"), stream(), overwrite=True)


def test_a_killed_writer_leaves_the_old_log_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write_event_log(path, Manifest(name="old"), make_events(["a"]))
    before = EventLog(path).fingerprint()
    process = get_context("fork").Process(target=die_midway, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert EventLog(path).fingerprint() == before
    write_event_log(path, Manifest(name="new"), make_events(["b"]), overwrite=True)
    assert EventLog(path).manifest.name == "new"


def test_overwriting_is_asked_for_and_spares_other_directories(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write_event_log(path, Manifest(name="old"), make_events(["a"]))
    with pytest.raises(FileExistsError, match="exists already.*--overwrite"):
        write_event_log(path, Manifest(name="new"), make_events(["b"]))
    write_event_log(path, Manifest(name="new"), make_events(["b"]), overwrite=True)
    assert EventLog(path).manifest.name == "new"
    other = tmp_path / "photos"
    other.mkdir()
    (other / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(FileExistsError, match="not an event log"):
        write_event_log(other, Manifest(name="new"), make_events(["b"]), overwrite=True)
    assert (other / "holiday.jpg").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "photos"]


def write_one_shard(directory: Path, shard: int) -> None:
    with EventLogShard(directory, shard) as out:
        out.write_events(make_events([f"u{shard}"] * (shard + 1)))


def test_shards_of_several_processes_share_a_log(tmp_path: Path) -> None:
    with EventLogWriter(tmp_path / "log", Manifest(name="toy")) as writer:
        with get_context("fork").Pool(2) as pool:
            pool.starmap(write_one_shard, [(writer.directory, n) for n in range(1, 4)])
    log = EventLog(tmp_path / "log")
    assert (log.manifest.events, log.manifest.users) == (9, 3)
    assert len(log.events_files()) == 3


def test_fingerprint_follows_content_and_not_time_or_place(tmp_path: Path) -> None:
    rows = make_events(["a", "b"])
    write_event_log(tmp_path / "one", Manifest(name="toy"), rows)
    write_event_log(tmp_path / "two", Manifest(name="toy"), rows)
    one, two = EventLog(tmp_path / "one"), EventLog(tmp_path / "two")
    assert one.fingerprint() == two.fingerprint()
    # Two files whose size and column statistics are the same, so only the content tells.
    write_event_log(
        tmp_path / "two", Manifest(name="toy"), rows.take(pa.array([1, 0])), overwrite=True
    )
    assert one.fingerprint() != EventLog(tmp_path / "two").fingerprint()


def test_opening_what_is_not_a_log_says_what_one_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not a directory"):
        EventLog(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no events/"):
        EventLog(tmp_path)


def test_a_manifest_is_asked_for_and_checked(tmp_path: Path) -> None:
    write_event_log(tmp_path / "log", Manifest(name="toy"), make_events(["a"]))
    path = tmp_path / "log" / "manifest.json"
    path.write_text('{"name": "toy", "tme": "real"}')
    with pytest.raises(ValueError, match="the nearest is `time`"):
        Manifest.read(tmp_path / "log")
    path.write_text("[]")
    with pytest.raises(ValueError, match="holds a list"):
        Manifest.read(tmp_path / "log")
    path.write_text("{")
    with pytest.raises(ValueError, match="does not parse"):
        Manifest.read(tmp_path / "log")
    path.unlink()
    with pytest.raises(FileNotFoundError, match="is missing"):
        Manifest.read(tmp_path / "log")
