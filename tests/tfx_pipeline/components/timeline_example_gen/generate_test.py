"""Whole runs on hand-made logs with known timelines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.tfx_pipeline.components.timeline_example_gen.logs import DAY
from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import of_user
from tests.tfx_pipeline.components.timeline_example_gen.logs import timelines

T = 1_700_000_000_000_000


def _names(example: dict[str, list[Any]], prefix: str = "event") -> list[str]:
    return [name.partition(":")[2] for name in example[f"{prefix}/entity"]]


def test_leave_last_out_has_the_timelines_that_a_reader_works_out(tmp_path: Path) -> None:
    events = [
        event("ann", "c", T + 30, query="shoes", value=4.5),
        event("bob", "x", T + 5),
        event("ann", "a", T + 10),
        event("ann", "b", T + 20, kind="cart"),
        event("ann", "e", T + 40, ordinal=2),
        event("ann", "d", T + 40, ordinal=1),
    ]
    users = [{"user_id": "ann", "attributes": ["age=30", "sex=f"]}, {"user_id": "no-events"}]
    splits, report = timelines(tmp_path, events, log={"users": users})

    ann = of_user(splits["train"], "ann")[0]
    assert ann == {
        "user_id": ["ann"],
        "user/attributes": ["age=30", "sex=f"],
        "chunk": [0],
        "context_length": [0],
        "request/time": [T + 30],
        "request/query": [""],
        "event/entity": ["item:a", "item:b", "item:c"],
        "event/type": ["watch", "cart", "watch"],
        "event/timestamp": [T + 10, T + 20, T + 30],
        "event/query": ["", "", "shoes"],
        "event/value": [0.0, 0.0, 4.5],
        "page/id": [],
        "page/timestamp": [],
        "page/query": [],
        "page/history_length": [],
        "impression/page": [],
        "impression/position": [],
        "impression/entity": [],
        "impression/clicked": [],
    }
    (validation,), (test,) = splits["validation"], splits["test"]
    assert _names(validation) == ["a", "b", "c"] and _names(validation, "target") == ["d"]
    assert _names(test) == ["a", "b", "c", "d"] and _names(test, "target") == ["e"]
    assert test["target/type"] == ["watch"] and test["target/timestamp"] == [T + 40]
    assert test["request/time"] == [T + 40] and test["request/query"] == [""]
    assert test["slice/activity"] == ["1-9"]
    assert test["slice/target_age"] == ["unknown"]
    assert test["slice/target_popularity"] == ["unseen"]
    assert set(test) - set(ann) == {
        "target/entity",
        "target/type",
        "target/timestamp",
        "slice/activity",
        "slice/target_popularity",
        "slice/target_age",
    }
    (bob,) = of_user(splits["train"], "bob")
    assert _names(bob) == ["x"] and bob["user/attributes"] == []
    assert report["users"] == {
        "all": 2,
        "with_one_event": 1,
        "without_held_out_targets": 1,
        "in_users_table": 2,
    }
    assert report["events"]["kept"] == 6 and report["events"]["in_training"] == 4
    written = json.loads((tmp_path / "examples" / "generation_report.json").read_text())
    assert written == report


def test_only_configured_events_and_types_are_targets(tmp_path: Path) -> None:
    events = [event("u", str(i), T + i, kind="buy") for i in range(4)]
    events += [event("u", "video:1", T + 10, kind="buy"), event("u", "9", T + 11, kind="view")]
    splits, _ = timelines(tmp_path, events, target_events=["buy"], candidate_types=["item"])
    (validation,), (test,) = splits["validation"], splits["test"]
    assert _names(validation) == ["0", "1"] and _names(validation, "target") == ["2"]
    assert _names(test) == ["0", "1", "2"] and _names(test, "target") == ["3"]


def test_the_same_id_in_two_entity_types_is_two_entities(tmp_path: Path) -> None:
    events = [event("u", name, T + i) for i, name in enumerate(["item:7", "video:7", "item:7"])]
    events.append(event("u", "video:7", T + 2))
    splits, report = timelines(tmp_path, events)
    assert of_user(splits["test"], "u")[0]["event/entity"] == ["item:7", "video:7", "item:7"]
    assert splits["test"][0]["target/entity"] == ["video:7"]
    assert [row["catalogue/entity"] for row in splits["catalogue"]] == [["item:7"], ["video:7"]]
    assert "dead_letters" not in report


def test_users_whose_names_share_a_bucket_stay_apart_and_complete(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    sizes = {f"u{i}": int(n) for i, n in enumerate(generator.integers(1, 40, 200))}
    events = [event(u, str(j), T + j * 7 + hash_of(u)) for u, n in sizes.items() for j in range(n)]
    order = generator.permutation(len(events))
    splits, report = timelines(tmp_path, [events[i] for i in order], buckets=7)
    assert len(list((tmp_path / "examples" / "Split-train").iterdir())) == 7
    for user, size in sizes.items():
        (train,) = of_user(splits["train"], user)
        held_out = 2 if size >= 3 else 0
        assert _names(train) == [str(j) for j in range(size - held_out)]
        assert len(of_user(splits["test"], user)) == held_out // 2
    assert report["train"]["events"] + 2 * report["test"]["examples"] == len(events)


def hash_of(name: str) -> int:
    """A small number that differs between users."""
    return sum(map(ord, name))


def test_no_target_is_in_its_own_history_and_the_test_sees_the_validation_target(
    tmp_path: Path,
) -> None:
    generator = np.random.default_rng(1)
    users, times = generator.integers(0, 30, 900), generator.integers(0, 99, 900)
    events = [
        event(f"u{users[i]}", str(i), T + int(times[i]), ordinal=i) for i in range(len(users))
    ]
    splits, _ = timelines(tmp_path, events)
    for name in ("validation", "test"):
        for example in splits[name]:
            assert not set(_names(example)) & set(_names(example, "target"))
            assert max(example["event/timestamp"]) <= min(example["target/timestamp"])
    for validation, test in zip(splits["validation"], splits["test"], strict=True):
        assert _names(test) == _names(validation) + _names(validation, "target")
    for train, validation in zip(splits["train"], splits["validation"], strict=True):
        assert _names(train) == _names(validation)


@pytest.fixture
def two_weeks() -> list[dict[str, Any]]:
    """One event a day of `ann`, who repeats herself, and `old`, who stops after two days."""
    items = "a b c d e f g h g i a k h l".split()
    events = [event("ann", item, T + day * DAY) for day, item in enumerate(items)]
    events += [event("old", "a", T), event("old", "b", T + DAY)]
    events += [event("new", "z", T + 9 * DAY), event("new", "y", T + 13 * DAY)]
    return events


def test_time_cut_freezes_histories_and_holds_out_distinct_targets(
    tmp_path: Path, two_weeks: list[dict[str, Any]]
) -> None:
    splits, report = timelines(
        tmp_path, two_weeks, split="time-cut", validation_start=T + 6 * DAY, test_start=T + 9 * DAY
    )
    (validation,) = splits["validation"]
    assert _names(validation) == list("abcdef")
    assert _names(validation, "target") == ["g", "h"]  # the second g repeats the first
    assert validation["target/timestamp"] == [T + 6 * DAY, T + 7 * DAY]
    assert validation["request/time"] == [T + 6 * DAY]
    (test,) = splits["test"]
    assert _names(test) == list("abcdefghg")
    assert _names(test, "target") == ["i", "a", "k", "h", "l"]
    # Both training users began with `a`; the others nobody has had before.
    assert test["slice/target_popularity"] == ["unseen", "head", "unseen", "unseen", "unseen"]
    assert {e["user_id"][0] for e in splits["train"]} == {"ann", "old"}
    assert _names(of_user(splits["train"], "old")[0]) == ["a", "b"]
    assert report["test"]["targets"]["seen_before"] == 2
    assert report["test_start"] == T + 9 * DAY


def test_so_many_users_are_drawn_into_each_held_out_split(tmp_path: Path) -> None:
    events = [event(f"u{u}", "abcdefg"[d], T + d * DAY) for u in range(40) for d in range(7)]
    cut = {"split": "time-cut", "validation_start": T + 3 * DAY, "test_start": T + 5 * DAY}
    whole, _ = timelines(tmp_path / "whole", events, **cut, buckets=2)
    few, report = timelines(tmp_path / "few", events, **cut, buckets=2, max_held_out_users=10)
    again, _ = timelines(tmp_path / "again", events[::-1], **cut, buckets=2, max_held_out_users=10)
    assert few == again and few["train"] == whole["train"]
    for split in ("validation", "test"):
        drawn = [example["user_id"] for example in few[split]]
        assert len(drawn) == 10 and report[split]["users_left_out"] == 30
        assert few[split] == [e for e in whole[split] if e["user_id"] in drawn]


def test_leave_share_out_holds_out_the_last_rows_of_each_user(tmp_path: Path) -> None:
    events = [event("ann", item, T + i) for i, item in enumerate("abcdefghij")]
    events += [event("bob", item, T, ordinal=i) for i, item in enumerate("abcd")]
    events += [event("eve", "a", T, "impression", page_id="p", ordinal=i) for i in range(8)]
    events += [event("eve", item, T + 1, ordinal=i) for i, item in enumerate("ab")]
    shares = {"split": "leave-share-out", "validation_share": 0.2, "test_share": 0.1}
    splits, report = timelines(tmp_path, events, log={"time": "ordinal"}, **shares, earliest=0)
    cut = {
        (split, e["user_id"][0]): ("".join(_names(e)), "".join(_names(e, "target")))
        for split in ("validation", "test")
        for e in splits[split]
    }
    # A share of ten rows is two and one; of bob's four it rounds to one and none; eve's rows are
    # impressions but for the last two, and a user without an event before is left out.
    assert cut == {
        ("validation", "ann"): ("abcdefg", "hi"),
        ("test", "ann"): ("abcdefghi", "j"),
        ("validation", "bob"): ("abc", "d"),
        ("test", "eve"): ("a", "b"),
    }
    train = {e["user_id"][0]: "".join(_names(e)) for e in splits["train"]}
    assert train == {"ann": "abcdefg", "bob": "abc"}
    assert report["users"]["without_held_out_targets"] == 0


def test_periods_may_be_given_in_days_from_the_end(
    tmp_path: Path, two_weeks: list[dict[str, Any]]
) -> None:
    splits, report = timelines(
        tmp_path, two_weeks, split="time-cut", validation_days=3, test_days=5, min_history=0
    )
    assert report["test_start"] == T + 13 * DAY + 1 - 5 * DAY
    assert report["validation_start"] == report["test_start"] - 3 * DAY
    assert {e["user_id"][0] for e in splits["test"]} == {"ann", "new"}
    new = of_user(splits["test"], "new")[0]
    assert new["event/entity"] == [] and new["slice/activity"] == ["0"]
    assert new["target/entity"] == ["item:z", "item:y"]


def test_time_cut_needs_true_times_and_periods_inside_the_log(
    tmp_path: Path, two_weeks: list[dict[str, Any]]
) -> None:
    with pytest.raises(ValueError, match="times are ordinal.*leave-last-out"):
        timelines(
            tmp_path,
            two_weeks,
            log={"time": "ordinal"},
            split="time-cut",
            validation_days=1,
            test_days=1,
        )
    with pytest.raises(ValueError, match="leave a split empty: the events lie between 2023-11-14"):
        timelines(
            tmp_path / "2", two_weeks, split="time-cut", validation_start="2020-01-01", test_days=1
        )


def test_slices_say_how_popular_how_old_and_how_active(tmp_path: Path) -> None:
    # Training targets: a 6, b 3, c 2, d 1 of 12.
    first = [*"aaaaaa", *"bbb", *"cc", *"d"]
    events = [event(f"u{i}", item, T + 1) for i, item in enumerate(first)]
    events += [event(f"u{i}", "v", T + 2) for i in range(12)]
    last = [*"abcd", "new", *["v"] * 7]
    events += [event(f"u{i}", item, T + 40 * DAY) for i, item in enumerate(last)]
    ages = {"a": 40 * DAY - 1, "b": DAY, "c": 7 * DAY, "d": 30 * DAY}
    catalogue = [
        {"entity_type": "item", "entity_id": i, "available_from": T + 40 * DAY - ages[i]}
        for i in "abcd"
    ]
    catalogue.append({"entity_type": "item", "entity_id": "v", "available_from": None})
    splits, report = timelines(tmp_path, events, log={"catalogue": catalogue})
    found = {
        e["target/entity"][0]: (e["slice/target_popularity"][0], e["slice/target_age"][0])
        for e in splits["test"]
    }
    assert found == {
        "item:a": ("head", "30d+"),
        "item:b": ("torso", "1-7d"),
        "item:c": ("torso", "7-30d"),
        "item:d": ("tail", "30d+"),
        "item:v": ("unseen", "unknown"),
        "item:new": ("unseen", "unknown"),
    }
    assert report["test"]["targets"]["not_in_catalogue"] == 1
    assert report["events"]["not_in_catalogue"] == 1
    assert report["events"]["before_available_from"] == 3 + 2 + 1  # b, c and d at first
    assert {e["slice/activity"][0] for e in splits["test"]} == {"1-9"}


def test_activity_counts_the_whole_history(tmp_path: Path) -> None:
    sizes = {"a": 11, "b": 12, "c": 51, "d": 201, "e": 202}
    events = [event(u, str(j), T + j) for u, n in sizes.items() for j in range(n)]
    splits, report = timelines(tmp_path, events, max_events_per_example=64, context_events=8)
    activity = {e["user_id"][0]: e["slice/activity"][0] for e in splits["test"]}
    assert activity == {"a": "10-49", "b": "10-49", "c": "50-199", "d": "200+", "e": "200+"}
    assert _names(of_user(splits["test"], "e")[0]) == [str(j) for j in range(201 - 64, 201)]
    assert report["test"]["histories_truncated"] == 2


def test_a_very_long_user_is_chunked_and_nothing_is_lost(tmp_path: Path) -> None:
    count = 100_000
    events = pa.table(
        {
            "user_id": ["long"] * count + ["short"] * 4,
            "entity_type": ["item"] * (count + 4),
            "entity_id": [str(i) for i in range(count + 4)],
            "event": ["watch"] * (count + 4),
            "timestamp": [T + i for i in range(count + 4)],
            "ordinal": [0] * (count + 4),
        }
    )
    catalogue = [{"entity_type": "item", "entity_id": "0"}]
    splits, report = timelines(
        tmp_path,
        events,
        log={"catalogue": catalogue, "row_group_size": 9_999},
        min_catalogue_match=0,
    )
    chunks = of_user(splits["train"], "long")
    assert [chunk["chunk"] for chunk in chunks] == [[i] for i in range(len(chunks))]
    assert report["train"]["chunks_after_the_first"] == len(chunks) - 1 == 25
    seen: list[str] = []
    for chunk in chunks:
        names, context = _names(chunk), chunk["context_length"][0]
        assert len(names) <= 4_096 and context == (256 if seen else 0)
        assert names[:context] == seen[len(seen) - context :]
        seen += names[context:]
        assert chunk["request/time"] == chunk["event/timestamp"][-1:]
    assert seen == [str(i) for i in range(count - 2)]
    (test,) = of_user(splits["test"], "long")
    assert _names(test) == [str(i) for i in range(count - 1 - 4_096, count - 1)]
    assert test["context_length"] == [0]
    assert _names(of_user(splits["train"], "short")[0]) == [str(count), str(count + 1)]


def test_a_log_too_small_to_split_is_refused_with_the_reason(tmp_path: Path) -> None:
    events = [event("u", "a", T), event("u", "b", T + 1), event("v", "a", T)]
    with pytest.raises(ValueError, match="No example in validation, test.*min_target_events = 3"):
        timelines(tmp_path, events)
    splits, _ = timelines(tmp_path / "allowed", events, allow_empty_splits=True)
    assert len(splits["train"]) == 2 and not splits["test"]
    assert (tmp_path / "allowed/examples/Split-test/data_tfrecord-00000-of-00001.gz").exists()


@pytest.mark.parametrize(("asked", "queries"), [("empty", ["", ""]), ("target", ["q3", "q4"])])
def test_the_request_carries_the_query_of_its_target_only_when_told(
    tmp_path: Path, asked: str, queries: list[str]
) -> None:
    events = [event("u", str(i), T + i, query=f"q{i}") for i in range(5)]
    splits, _ = timelines(tmp_path, events, request_query=asked)
    held_out = [splits[name][0]["request/query"] for name in ("validation", "test")]
    assert held_out == [[query] for query in queries]
    assert splits["train"][0]["request/query"] == [""]
