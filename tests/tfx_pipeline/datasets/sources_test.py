"""The smaller sources: hand-made files with every fault, and the real ones' counts."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tfx_pipeline.datasets.delimited import RowReport
from tfx_pipeline.datasets.delimited import read_delimited
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.registry import find_source
from tfx_pipeline.datasets.registry import list_sources
from tfx_pipeline.datasets.registry import prepare
from tfx_pipeline.datasets.retailrocket import whole_sessions
from tfx_pipeline.datasets.sequences import read_sequences
from tfx_pipeline.datasets.validate import validate_event_log


def put(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    data = text.encode("latin-1")
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def test_delimited_rows_are_read_or_counted_with_their_reason(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv.gz", 'a,1,0.5\n"b,2,1\nc,x,1\nd,3\ne,4,\nf,-5,2,9')
    report = RowReport("a.csv")
    columns = {"name": pa.string(), "count": pa.int64(), "share": pa.float32()}
    rows = pa.concat_tables(read_delimited(path, columns, ",", report)).to_pylist()
    assert rows == [
        {"name": "a", "count": 1, "share": 0.5},
        {"name": '"b', "count": 2, "share": 1.0},
    ]
    assert report.kept == 2
    assert report.left_out == {
        "2 fields instead of 3": 1,
        "4 fields instead of 3": 1,
        "`count` is not a number": 1,
        "`share` is not a number": 1,
    }
    with pytest.raises(ValueError, match="4 of 6 rows cannot be read"):
        report.require(0.5)
    report.require(0.7)


def test_delimited_text_that_is_none(tmp_path: Path) -> None:
    for data in ("", "caf\xe9,1\n"):
        path = put(tmp_path, "a.csv", data)
        report = RowReport("a.csv")
        with pytest.raises(ValueError, match="a.csv: not text of"):
            list(read_delimited(path, {"name": pa.string(), "n": pa.int64()}, ",", report))


def test_sequences_are_read_or_refused(tmp_path: Path) -> None:
    sequences = read_sequences(put(tmp_path, "a.txt.gz", "u1 a b\n\nu2  c \r\n"))
    assert sequences.users.to_pylist() == ["u1", "u2"]
    assert sequences.items.to_pylist() == ["a", "b", "c"]
    assert sequences.user_of_item().to_pylist() == ["u1", "u1", "u2"]
    assert sequences.positions().tolist() == [0, 1, 0]
    for text, message in (
        ("u1 a\nu2\n", "1 lines have a user and no item, the first is line 2"),
        ("u1 a\nu1 b\n", "1 users have two lines"),
        ("\n", "is empty"),
        ("caf\xe9 1\n", "not whole UTF-8"),
    ):
        with pytest.raises(ValueError, match=message):
            read_sequences(put(tmp_path, "b.txt", text))
    whole = gzip.compress(b"u1 a b\n" * 10_000)
    (tmp_path / "c.txt.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not whole UTF-8"):
        read_sequences(tmp_path / "c.txt.gz")


DAY = 1_511_600_000  # a second in the nine days of the Taobao log
GOOD = "".join(f"{i % 7},{i % 50},{i % 5},pv,{DAY + i}\n" for i in range(1_000))


def test_taobao_reports_the_rows_that_it_leaves_out(tmp_path: Path) -> None:
    bad = f"1,2,3,pv,1\n1,2,3,stare,{DAY}\n1,2,3,pv"
    put(tmp_path / "data", "UserBehavior.csv.gz", GOOD + bad)
    manifest = prepare("taobao", tmp_path / "log", tmp_path / "data")
    assert (manifest.events, manifest.users, manifest.entities) == (1_000, 7, {"item": 50})
    assert manifest.notes["rows_left_out"] == {
        "4 fields instead of 5": 1,
        "unknown event": 1,
        "time outside the log's nine days": 1,
    }
    assert "1,2,3,pv" in manifest.notes["samples_left_out"]
    log = EventLog(tmp_path / "log")
    assert log.manifest == manifest
    events = log.read("events").slice(0, 1).to_pylist()[0]
    assert (events["timestamp"], events["event"]) == (DAY * 1_000_000, "pv")
    assert log.read("catalogue").column("categories").to_pylist()[:2] == [["0"], ["1"]]
    assert [p.kind for p in validate_event_log(tmp_path / "log")] == []


def test_taobao_refuses_a_file_of_another_kind(tmp_path: Path) -> None:
    path = put(tmp_path, "other.csv", GOOD + "1,2,3,stare,1\n" * 20)
    with pytest.raises(ValueError, match="20 of 1,020 rows cannot be read"):
        prepare("taobao", tmp_path / "log", path)
    assert [p.name for p in tmp_path.iterdir()] == ["other.csv"]


def test_retailrocket_counts_a_session_once(tmp_path: Path) -> None:
    put(tmp_path / "data", "train_sessions.txt.gz", "1 2 1\n3 4 5\n")
    put(tmp_path / "data", "test_sessions.txt.gz", "1 2 3 4\n1 2 3\n10 2 1\n1 2 3\n10 2 1 7\n")
    manifest = prepare("retailrocket", tmp_path / "log", tmp_path / "data")
    assert manifest.notes["rows_left_out"] == {"prefix of the session before it": 1}
    assert (manifest.events, manifest.users, manifest.entities) == (20, 6, {"item": 7})
    log = EventLog(tmp_path / "log")
    events = log.read("events", ["user_id", "entity_id"]).to_pylist()
    last = [e["entity_id"] for e in events if e["user_id"] == "test-4"]
    assert last == ["10", "2", "1", "7"]
    users = log.read("users").to_pylist()
    assert users[0] == {"user_id": "train-0", "attributes": ["part=train"]}
    assert [p.kind for p in validate_event_log(tmp_path / "log")] == []


def test_a_prefix_ends_where_an_item_does() -> None:
    sessions = pa.array([["1", "23"], ["1", "2"], ["1"], ["1"], ["2"]])
    assert whole_sessions(sessions).tolist() == [True, True, False, True, True]


def test_amazon_beauty_joins_attributes(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    put(folder, "Beauty.txt.gz", "1 5 6\n2 6 7\n")
    put(folder, "Beauty_item2attributes.json.gz", '{"5": [1, 2], "6": []}')
    manifest = prepare("amazon-beauty", tmp_path / "log", folder)
    assert (manifest.events, manifest.users, manifest.entities) == (4, 2, {"item": 3})
    rows = EventLog(tmp_path / "log").read("catalogue").to_pylist()
    assert [row["attributes"] for row in rows] == [["attribute=1", "attribute=2"], [], []]
    put(folder, "Beauty_item2attributes.json.gz", "[]")
    with pytest.raises(ValueError, match="holds a list"):
        prepare("amazon-beauty", tmp_path / "log", folder, overwrite=True)


def test_youshu_keeps_its_split_in_the_order_of_events(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for part, text in (("train", "0\t7\n0\t8\n1\t7\n"), ("tune", "0\t9\n"), ("test", "1\t8\n")):
        put(folder, f"user_bundle_{part}.txt.gz", text)
    put(folder, "user_item.txt.gz", "0\t7\n0\t5\n1\t6\n")
    put(folder, "bundle_item.txt.gz", "7\t5\n7\t6\n9\t7\n")
    manifest = prepare("youshu", tmp_path / "log", folder)
    assert (manifest.events, manifest.users) == (8, 2)
    assert (manifest.entities, manifest.time) == ({"bundle": 3, "item": 3}, "ordinal")

    log = EventLog(tmp_path / "log")
    rows = log.read("catalogue").to_pylist()
    shown = {r["entity_id"]: r["related_ids"] for r in rows if r["entity_type"] == "bundle"}
    assert shown == {"7": ["item:5", "item:6"], "8": [], "9": ["item:7"]}
    seconds: dict[str, dict[str, int]] = {}
    for row in log.read("events").to_pylist():
        name = f"{row['entity_type']}:{row['entity_id']} {row['event']}"
        seconds.setdefault(row["user_id"], {})[name] = row["timestamp"] // 1_000_000
    first = seconds["0"].pop("bundle:9 save")
    assert first == 1_000_000  # of the second part
    assert sorted(seconds["0"].values()) == [0, 1, 2, 3]  # both kinds in one order
    assert set(seconds["0"]) == {"bundle:7 save", "bundle:8 save", "item:7 read", "item:5 read"}
    assert seconds["1"]["bundle:8 save"] == 2_000_000
    assert [p.kind for p in validate_event_log(tmp_path / "log") if p.severity == "error"] == []
    put(folder, "user_item.txt.gz", "0\t7\n0\n")
    with pytest.raises(ValueError, match="1 fields instead of 2"):
        prepare("youshu", tmp_path / "log", folder, overwrite=True)


def test_amazon_electronics_clothing_keeps_its_split(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for domain, train, test in (("electronics", "0\t7\t1\n0\t8\t1\n", "0\t9\t1\n"),
                                ("clothing", "0\t7\t1\n1\t7\t1\n", "1\t5\t1\n")):  # fmt: skip
        put(folder, f"{domain}_train.txt.gz", train)
        put(folder, f"{domain}_test.txt.gz", test)
    manifest = prepare("amazon-electronics-clothing", tmp_path / "log", folder)
    assert (manifest.events, manifest.users) == (6, 2)
    assert manifest.entities == {"electronics": 3, "clothing": 2}
    split = manifest.notes["part_seconds"] * 1_000_000
    rows = EventLog(tmp_path / "log").read("events").to_pylist()
    held_out = {
        f"{row['user_id']} {row['entity_type']}:{row['entity_id']}"
        for row in rows
        if row["timestamp"] >= split
    }
    assert held_out == {"0 electronics:9", "1 clothing:5"}


def test_movielens_100k_from_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    put(folder, "u.data.gz", "1\t2\t3\t881250949\n2\t2\t5\t881250950\n")
    put(folder, "u.genre", "unknown|0\nDrama|1\n")
    put(folder, "u.item.gz", "2|Caf\xe9 (1995)|01-Jan-1995||http://x|0|1\n")
    put(folder, "u.user.gz", "1|24|M|artist|85711\n2|53|F|other|94043\n")
    manifest = prepare("movielens-100k", tmp_path / "log", folder)
    assert (manifest.events, manifest.users, manifest.time) == (2, 2, "real")
    log = EventLog(tmp_path / "log")
    assert log.read("events").column("timestamp")[0].as_py() == 881_250_949_000_000
    movie = log.read("catalogue").to_pylist()[0]
    assert (movie["title"], movie["categories"]) == ("Caf\xe9 (1995)", ["Drama"])
    assert log.read("users").to_pylist()[0]["attributes"] == [
        "gender=M",
        "age=20s",
        "occupation=artist",
    ]
    put(folder, "u.item.gz", "2|Caf\xe9 (1995)|01-Jan-1995||http://x|0\n")
    with pytest.raises(ValueError, match="must have 7 fields"):
        prepare("movielens-100k", tmp_path / "log", folder, overwrite=True)


@pytest.mark.parametrize(
    ("name", "file", "events", "users", "entities"),
    [
        ("movielens-100k", "movielens-100k/u.data.gz", 100_000, 943, {"movie": 1_682}),
        ("amazon-beauty", "amazon-beauty/Beauty.txt.gz", 198_502, 22_363, {"item": 12_101}),
        ("retailrocket", "retailrocket/train_sessions.txt.gz", 710_586, 130_903,
         {"item": 36_968}),
        ("youshu", "youshu/user_item.txt.gz", 187_866, 8_006, {"bundle": 4_771, "item": 32_770}),
        ("amazon-electronics-clothing", "amazon-electronics-clothing/clothing_test.txt.gz",
         358_298, 15_761, {"electronics": 51_447, "clothing": 48_781}),
        ("taobao", "taobao/UserBehavior.csv.gz", 84_440, 815, {"item": 55_344}),
    ],
)  # fmt: skip
def test_the_real_files_give_their_known_counts(
    data_file: Callable[[str], Path],
    tmp_path: Path,
    name: str,
    file: str,
    events: int,
    users: int,
    entities: dict[str, int],
) -> None:
    manifest = prepare(name, tmp_path / "log", data_file(file).parent)
    assert (manifest.events, manifest.users, manifest.entities) == (events, users, entities)
    if name == "taobao":
        assert manifest.notes["rows_left_out"]["4 fields instead of 5"] == 1
    assert [p for p in validate_event_log(tmp_path / "log") if p.severity == "error"] == []


def test_the_registry_names_what_is_near(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the nearest is `movielens-1m`"):
        prepare("movielens_1m", tmp_path / "log")
    with pytest.raises(ValueError, match=r"`nothing` is not a source\. There are .*movielens-1m"):
        prepare("nothing", tmp_path / "log")
    with pytest.raises(ValueError, match="`protocl` is not a key .* nearest is `protocol`"):
        prepare("movielens-1m", tmp_path / "log", protocl="papers")
    with pytest.raises(ValueError, match="protocol: Input should be 'papers' or 'official'"):
        prepare("movielens-1m", tmp_path / "log", protocol="paper")
    with pytest.raises(ValueError, match="takes no source"):
        prepare("shop", tmp_path / "log", source=tmp_path)
    with pytest.raises(ValueError, match="users: Input should be a valid integer"):
        prepare("shop", tmp_path / "log", users="many")


def test_every_source_loads_and_tells_its_options() -> None:
    options = {s.name: set(s.options().model_fields) for s in list_sources()}
    assert options["movielens-1m"] == {"protocol", "posters"}
    assert {"users", "seed"} <= options["shop"]
    assert all(source.description for source in list_sources())
    assert find_source("taobao").load().__name__ == "prepare_taobao"
