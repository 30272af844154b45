"""Result pages: which split they belong to, what was clicked, what came before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.tfx_pipeline.components.timeline_example_gen.logs import DAY
from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import of_user
from tests.tfx_pipeline.components.timeline_example_gen.logs import timelines

T = 1_700_000_000_000_000


def page(user: str, name: str, time: int, items: str, query: str | None = None) -> list[Any]:
    """Impressions of `items` on one page, listed from the last position to the first."""
    return [
        event(user, item, time, "impression", page_id=name, position=place, query=query)
        for place, item in reversed(list(enumerate(items)))
    ]


def pages_of(example: dict[str, list[Any]]) -> list[tuple[str, int, str, str]]:
    """Name, history length, entities and clicks of each page."""
    pages = []
    for number, name in enumerate(example["page/id"]):
        mine = [i for i, p in enumerate(example["impression/page"]) if p == number]
        items = "".join(example["impression/entity"][i].partition(":")[2] for i in mine)
        clicks = "".join(str(example["impression/clicked"][i]) for i in mine)
        pages.append((name, example["page/history_length"][number], items, clicks))
    return pages


def test_pages_and_clicks_of_a_user_with_leave_last_out(tmp_path: Path) -> None:
    events = [
        *page("u", "p1", T, "abc", query="red shoes"),
        event("u", "b", T + 1, "click", page_id="p1"),
        event("u", "a", T + 2, "click"),  # the same item, but not from the page
        *page("u", "p2", T + 3, "cd"),
        event("u", "e", T + 4, "click", page_id="p2"),  # not shown there
        *page("u", "p3", T + 5, "fg"),
        event("u", "g", T + 6, "click", page_id="p3"),  # the validation target
        *page("u", "p4", T + 7, "hi"),
        event("u", "h", T + 8, "click", page_id="p4"),  # the test target
        *page("u", "p5", T + 9, "j"),
        *page("other", "p1", T, "a"),
    ]
    splits, report = timelines(tmp_path, events)
    train = of_user(splits["train"], "u")[0]
    assert train["event/entity"] == ["item:b", "item:a", "item:e"]
    assert pages_of(train) == [("p1", 0, "abc", "010"), ("p2", 2, "cd", "00")]
    assert train["page/query"] == ["red shoes", ""]
    assert train["page/timestamp"] == [T, T + 3]
    assert train["impression/position"] == [0, 1, 2, 0, 1]
    # p3 was shown before the cut, but its click is held out, and so is the page.
    assert pages_of(splits["validation"][0]) == [("p3", 3, "fg", "01")]
    assert pages_of(splits["test"][0]) == [("p4", 4, "hi", "10"), ("p5", 4, "j", "0")]
    # Someone who was shown things and did nothing is a timeline without events.
    other = of_user(splits["train"], "other")[0]
    assert other["event/entity"] == [] and pages_of(other) == [("p1", 0, "a", "0")]
    assert report["events"]["impressions"] == 11 and report["events"]["kept"] == 5


def test_a_click_counts_only_after_its_impression(tmp_path: Path) -> None:
    events = [
        event("u", "a", T, "click", page_id="p", ordinal=0),
        event("u", "a", T + 1, "impression", page_id="p", position=0),
        event("u", "b", T + 1, "impression", page_id="p", position=1),
        event("u", "b", T + 2, "click", page_id="p"),
        *(event("u", "z", T + 3 + i, "click") for i in range(3)),
    ]
    splits, _ = timelines(tmp_path, events)
    assert pages_of(splits["train"][0]) == [("p", 1, "ab", "01")]


def test_time_cut_puts_a_page_where_its_labels_become_known(tmp_path: Path) -> None:
    events = [event("u", str(day), T + day * DAY, "click") for day in range(4)]
    events += [
        *page("u", "early", T + 1, "ab"),
        *page("u", "straddles", T + 4 * DAY - 5, "cd"),
        event("u", "d", T + 4 * DAY + 5, "click", page_id="straddles"),
        *page("u", "later", T + 4 * DAY + 7, "ef"),
        *page("u", "last", T + 6 * DAY, "gh"),
        event("u", "h", T + 6 * DAY + 1, "click", page_id="last"),
        *page("idle", "unseen", T + 6 * DAY, "gh"),
        event("idle", "a", T, "click"),
    ]
    splits, report = timelines(
        tmp_path, events, split="time-cut", validation_start=T + 4 * DAY, test_start=T + 5 * DAY
    )
    assert pages_of(of_user(splits["train"], "u")[0]) == [("early", 1, "ab", "00")]
    # Histories are frozen at the cut, so no page has more of it before it.
    assert pages_of(splits["validation"][0]) == [
        ("straddles", 4, "cd", "01"),
        ("later", 4, "ef", "00"),
    ]
    assert pages_of(splits["test"][0]) == [("last", 5, "gh", "01")]
    assert report["test"]["pages"]["of_users_without_targets"] == 1


def test_pages_follow_their_chunk(tmp_path: Path) -> None:
    events: list[Any] = []
    for step in range(40):
        events += page("u", f"p{step}", T + 10 * step, "ab")
        events.append(event("u", "a", T + 10 * step + 1, "click", page_id=f"p{step}"))
    splits, _ = timelines(tmp_path, events, max_events_per_example=10, context_events=4)
    seen = []
    for chunk in splits["train"]:
        first = (chunk["event/timestamp"][0] - T) // 10  # number of events before the chunk
        for name, history, items, clicks in pages_of(chunk):
            assert history >= chunk["context_length"][0] or first == 0
            assert name == f"p{first + history}" and (items, clicks) == ("ab", "10")
            seen.append(name)
    assert seen == [f"p{step}" for step in range(38)]


def test_impressions_over_the_limit_lose_the_oldest_pages(tmp_path: Path) -> None:
    events = [row for i in range(5) for row in page("u", f"p{i}", T + i, "abc")]
    events += [event("u", str(i), T + 10 + i) for i in range(4)]
    splits, report = timelines(tmp_path, events, max_impressions_per_example=7)
    assert [p[0] for p in pages_of(splits["train"][0])] == ["p3", "p4"]
    assert report["train"]["pages"] == {"written": 2, "over_the_limit": 3}


def test_positions_that_are_missing_are_the_order_on_the_page(tmp_path: Path) -> None:
    events = [
        event("u", item, T, "impression", page_id="p", ordinal=i) for i, item in enumerate("cab")
    ]
    events += [event("u", str(i), T + 10 + i) for i in range(4)]
    splits, _ = timelines(tmp_path, events)
    assert splits["train"][0]["impression/position"] == [0, 1, 2]
    assert pages_of(splits["train"][0]) == [("p", 0, "cab", "000")]
