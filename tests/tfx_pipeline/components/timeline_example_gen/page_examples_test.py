"""Page examples of all sources and splits, against pages that plain Python works out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tfx_pipeline.components.timeline_example_gen import page_oracle
from tests.tfx_pipeline.components.timeline_example_gen.logs import CATALOGUE
from tests.tfx_pipeline.components.timeline_example_gen.logs import DAY
from tests.tfx_pipeline.components.timeline_example_gen.logs import Row
from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import random_log
from tests.tfx_pipeline.components.timeline_example_gen.logs import read_records
from tests.tfx_pipeline.components.timeline_example_gen.logs import read_splits
from tests.tfx_pipeline.components.timeline_example_gen.logs import run
from tests.tfx_pipeline.components.timeline_example_gen.logs import write_log
from tfx_pipeline.components.timeline_example_gen import page_examples
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig

T = 1_700_000_000_000_000
LABELS: dict[str, dict[str, Any]] = {
    "clicked": {"max_candidates": 3, "max_history": 20},
    "heads": {"events": ["click", "buy"], "max_history": 7},
    "values": {"source": "values", "events": ["click", "cart"], "at_least": 3.0},
    "events": {"source": "events", "events": ["click"], "negatives": 3},
}
SPLITS: dict[str, dict[str, Any]] = {
    "last": {"split": "leave-last-out"},
    "share": {"split": "leave-share-out", "validation_share": 0.2, "test_share": 0.15},
    "time": {
        "split": "time-cut",
        "validation_start": T + 3 * DAY,
        "test_start": T + 4 * DAY,
    },
}
STARTS = (T + 3 * DAY, T + 4 * DAY)
MANY = {"max_dead_letter_fraction": 1, "allow_empty_splits": True, "min_catalogue_match": 0}


def as_set(pages: list[dict[str, Any]]) -> list[str]:
    """Pages as texts in an order of their own."""
    return sorted(json.dumps(page, sort_keys=True) for page in pages)


def training_pages(examples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pages in training timelines, without their histories, which chunks divide."""
    found = []
    for example in examples:
        assert len(example["impression/events"]) == len(example["impression/entity"])
        for number, name in enumerate(example["page/id"]):
            mine = [i for i, page in enumerate(example["impression/page"]) if page == number]
            end = example["page/history_length"][number]
            page = {"id": name, "user_id": example["user_id"]}
            page["request/time"] = [example["page/timestamp"][number]]
            page["request/query"] = [example["page/query"][number]]
            page["newest"] = example["event/entity"][max(0, end - 2) : end]
            for key, column in (
                ("candidate/entity", "impression/entity"),
                ("candidate/position", "impression/position"),
                ("label/events", "impression/events"),
            ):
                page[key] = [example[column][i] for i in mine]
            found.append(page)
    return found


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("label", LABELS)
def test_pages_are_those_that_a_reader_of_the_rows_finds(
    tmp_path: Path, split: str, label: str
) -> None:
    seed = list(LABELS).index(label) * 3 + list(SPLITS).index(split)
    rows = random_log(seed)
    users = [{"user_id": f"u{i}", "attributes": [f"name=u{i}"]} for i in range(9)]
    log = write_log(tmp_path / "log", rows, CATALOGUE, users)
    options = {"label": LABELS[label], "candidate_types": ["item"] if label == "events" else ["*"]}
    options |= {"max_events_per_example": 20, "context_events": 5, "buckets": 3}
    options |= SPLITS[split] | MANY
    run(log, tmp_path / "out", **options)
    found = read_splits(tmp_path / "out")
    config = TimelineConfig(**options)
    expected = page_oracle.pages(rows, CATALOGUE, config, STARTS)

    for name in ("validation_pages", "test_pages"):
        assert len(expected[name]) >= 2
        assert as_set(found[name]) == as_set(expected[name])
    if config.label and config.label.source != "impressions":
        assert "impression/events" not in found["train"][0]
        return
    whole = page_oracle.pages(
        rows,
        CATALOGUE,
        config.model_copy(update={"label": config.label.model_copy(update={"max_candidates": 64})}),
        STARTS,
    )
    wanted = [
        {
            key: page[key]
            for key in (
                "id",
                "user_id",
                "request/time",
                "request/query",
                "candidate/entity",
                "candidate/position",
                "label/events",
            )
        }
        | {"newest": page["event/entity"][-2:]}
        for page in whole["train"]
    ]
    assert as_set(training_pages(found["train"])) == as_set(wanted)


def clicked(user: str, page: str, item: str, time: int) -> Row:
    """A click on a page."""
    return event(user, item, time, "click", page_id=page)


def shown(user: str, page: str, items: str, time: int) -> list[Row]:
    """Impressions of items on a page, from position 0 on."""
    return [
        event(user, item, time, "impression", page_id=page, position=at)
        for at, item in enumerate(items)
    ]


def pages_of(log: Path, out: Path, **options: Any) -> tuple[list[Any], dict[str, Any]]:
    """Time, candidates, labels and number of earlier events of all test pages, and the report."""
    clicks = {"label": {"events": ["click"]}}
    report = run(log, out, **(MANY | SPLITS["time"] | clicks | options))
    pages = read_splits(out)["test_pages"]
    found = [
        (
            page["user_id"][0],
            page["request/time"][0] - STARTS[1],
            "".join(name[-1] for name in page["candidate/entity"]),
            page["label/events"],
            len(page["event/entity"]),
        )
        for page in pages
    ]
    return sorted(found), report


def test_odd_pages_have_rules_and_are_counted(tmp_path: Path) -> None:
    start = STARTS[1]
    events = [
        *shown("a", "p", "xyz", start),
        clicked("a", "p", "x", start + 1),
        clicked("a", "p", "w", start + 2),  # was not on the page
        clicked("a", "nowhere", "x", start + 3),  # a page without impressions
        *shown("b", "p", "xy", start),  # the same id, of another user; nothing is clicked
        *shown("a", "p", "yx", start + 2 * DAY),  # the same id, far apart
        clicked("a", "p", "y", start + 5 * DAY),  # late, but of the page that was last
        *shown("c", "q", "xu", start),  # `u` is not in the catalogue
        clicked("c", "q", "u", start + 1),
        *shown("d", "r", "x", T),
        clicked("d", "r", "x", T + 1),
    ]
    catalogue = [{"entity_type": "item", "entity_id": name} for name in "wxyz"]
    log = write_log(tmp_path / "log", events, catalogue)
    found, report = pages_of(log, tmp_path / "out")
    assert found == [
        ("a", 0, "xyz", [1, 0, 0], 0),
        ("a", 2 * DAY, "yx", [1, 0], 3),
        ("b", 0, "xy", [0, 0], 0),
        ("c", 0, "xu", [0, 1], 0),
    ]
    assert report["pages"] == {
        "all": 5,
        "without_label": 1,
        "impressions_not_in_catalogue": 1,
        "events_without_impression": 2,
        "ids_returned_to": 1,
        "ids_of_several_users": 1,
    }
    assert report["test_pages"] == {
        "examples": 4,
        "users": 3,
        "users_left_out": 0,
        "candidates": 9,
        "candidates_over_the_limit": 0,
        "candidates_not_in_catalogue": 1,
        "events_not_candidates": 0,
        "without_label": 1,
        "histories_truncated": 0,
        "labels": {"click": 3},
    }
    assert report["train"]["labels"] == {"click": 1}

    found, report = pages_of(log, tmp_path / "strict", unknown_entities="dead-letter")
    assert found[-1] == ("c", 0, "x", [0], 0)
    assert report["dead_letters"]["events"] == {"entity is not in the catalogue": 2}


@pytest.mark.parametrize("source", ["clicked", "values"])
def test_a_split_keeps_all_pages_of_the_users_who_are_drawn(tmp_path: Path, source: str) -> None:
    label = {"label": LABELS[source], **SPLITS["time"], "buckets": 1}
    log = write_log(tmp_path / "log", random_log(7), CATALOGUE)
    whole, _ = pages_of(log, tmp_path / "whole", **label)
    drawn, report = pages_of(log, tmp_path / "drawn", max_held_out_users=2, **label)
    users = {page[0] for page in drawn}
    assert len(users) == 2 < len({page[0] for page in whole})
    assert drawn == [page for page in whole if page[0] in users]
    assert report["test_pages"]["users_left_out"] == len({page[0] for page in whole}) - 2


def test_pages_need_neither_targets_nor_history(tmp_path: Path) -> None:
    start = STARTS[1]
    events = [*shown("new", "p", "ab", start), *shown("idle", "p", "ab", start + 1)]
    events += [clicked("idle", "q", "a", T), clicked("idle", "q", "a", T + 1)]
    found, report = pages_of(write_log(tmp_path / "log", events), tmp_path / "out")
    assert found == [("idle", 1, "ab", [0, 0], 2), ("new", 0, "ab", [0, 0], 0)]
    assert "test" not in report or not report["test"].get("examples")


def test_batches_and_buckets_change_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = write_log(tmp_path / "log", random_log(99), CATALOGUE)
    for label in ("heads", "events"):
        options = {"label": LABELS[label]} | SPLITS["share"] | MANY
        run(log, tmp_path / label / "one", buckets=1, **options)
        with monkeypatch.context() as patch:
            patch.setattr(page_examples, "VALUES_A_BATCH", 100)
            run(log, tmp_path / label / "batches", buckets=1, **options)
        run(log, tmp_path / label / "buckets", buckets=7, **options)
        one, batches, buckets = (
            read_splits(tmp_path / label / name) for name in ("one", "batches", "buckets")
        )
        assert one == batches
        for name in one:
            assert as_set(one[name]) == as_set(buckets[name])
        files = "Split-test_pages/data_tfrecord-00000-of-00001.gz"
        sizes = [len(read_records(tmp_path / label / n / files)) for n in ("one", "batches")]
        assert sizes[0] == sizes[1] > 10


def test_negatives_are_of_the_candidate_types_and_each_as_likely(tmp_path: Path) -> None:
    events = [event(f"u{i}", "item:0", T + j * DAY) for i in range(40) for j in range(5)]
    others = ["video:0", "item:hat"]  # of another type, and outside the catalogue
    events += [event("u0", other, T + 4 * DAY) for other in others]
    label = {"source": "events", "negatives": 50}
    report = run(
        write_log(tmp_path / "log", events, CATALOGUE),
        tmp_path / "out",
        label=label,
        candidate_types=["item"],
        **SPLITS["time"] | MANY,
    )
    pages = read_splits(tmp_path / "out")["test_pages"]
    assert {page["candidate/entity"][0] for page in pages} == {"item:0"}
    assert report["test_pages"]["events_not_candidates"] == 2
    assert report["train"]["events_not_candidates"] == 0
    drawn = np.array([page["candidate/entity"][1:] for page in pages])
    names, counts = np.unique(drawn, return_counts=True)
    assert list(names) == [f"item:{i}" for i in range(6)]
    expected = drawn.size / 6
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
    assert len({tuple(row) for row in drawn}) == len(drawn) == 40


def test_negatives_were_available_at_the_time(tmp_path: Path) -> None:
    events = [event(f"u{i}", "old", T + j * DAY) for i in range(40) for j in range(8)]
    catalogue = [
        {"entity_type": "item", "entity_id": "old", "available_from": T - DAY},
        {"entity_type": "item", "entity_id": "always", "available_from": None},
        {"entity_type": "item", "entity_id": "new", "available_from": T + 6 * DAY},
    ]
    label = {"source": "events", "negatives": 20}
    log = write_log(tmp_path / "log", events, catalogue)
    run(log, tmp_path / "out", label=label, **SPLITS["time"] | MANY)
    for page in read_splits(tmp_path / "out")["test_pages"]:
        before = page["request/time"][0] < T + 6 * DAY
        names = {"item:old", "item:always"} | (set() if before else {"item:new"})
        assert set(page["candidate/entity"][1:]) == names


def test_an_item_that_is_drawn_beside_itself_is_positive_both_times(tmp_path: Path) -> None:
    events = [event("u", "0", T + j * DAY) for j in range(5)]
    catalogue = [{"entity_type": "item", "entity_id": "0"}]
    label = {"source": "events", "negatives": 2}
    log = write_log(tmp_path / "log", events, catalogue)
    run(log, tmp_path / "out", label=label, **SPLITS["time"] | MANY)
    (page,) = read_splits(tmp_path / "out")["test_pages"]
    assert page["label/events"] == [1, 1, 1]


@pytest.mark.parametrize(
    ("label", "options", "message"),
    [
        ({"events": ["clck"]}, {}, r"asks for \['clck'\], but no impression of a training page"),
        ({}, {"page": None}, "No example in validation_pages, test_pages.*result pages"),
        ({"source": "values"}, {}, "No example in validation_pages, test_pages.*value other than"),
        (
            {"source": "events"},
            {"candidate_types": ["hat"], "min_catalogue_match": 0, "allow_empty_splits": True},
            "no row of it is of a type in `candidate_types`",
        ),
    ],
)
def test_labels_that_nothing_has_are_refused(
    tmp_path: Path, label: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    events = [row for i in range(6) for row in shown("u", f"p{i}", "ab", T + i * DAY)]
    events += [clicked("u", f"p{i}", "a", T + i * DAY + 1) for i in range(6)]
    if "page" in options:
        events = [row | {"page_id": None} for row in events if row["event"] == "click"]
    log = write_log(tmp_path / "log", events)
    given = {name: value for name, value in options.items() if name != "page"}
    with pytest.raises(Exception, match=message):
        run(log, tmp_path / "out", label=label, **SPLITS["time"] | given)


@pytest.mark.parametrize(
    ("ratings", "message"),
    [
        ([5, 4, 5, 2, 5, 2], "makes 2 of the 2 values in train positive"),
        ([5, 0, 5, 2, 5, 2], "makes 1 of the 1 values in train positive"),  # 0 is no value
        ([5, 2, 3, 2, 5, 2], "makes 0 of the 2 values in validation_pages positive"),
        ([5, 2, 5, 2, 5, 4], "makes 2 of the 2 values in test_pages positive"),
        ([5, 2, 5, 2, 5, 2], ""),
    ],
)
def test_values_of_one_label_alone_are_refused(
    tmp_path: Path, ratings: list[int], message: str
) -> None:
    days = (1.0, 2.0, 3.0, 3.5, 4.0, 4.5)  # two of each split
    events = [
        event("u", "a", T + int(day * DAY), value=float(rating))
        for day, rating in zip(days, ratings, strict=True)
    ]
    log = write_log(tmp_path / "log", events)
    options = {"label": {"source": "values", "at_least": 4.0}} | SPLITS["time"]
    if message:
        with pytest.raises(ValueError, match=message):
            run(log, tmp_path / "out", **options)
    else:
        report = run(log, tmp_path / "out", **options)
        assert report["train"]["candidates"] == 2
        assert report["train"]["labels"] == {"clicked": 1}
