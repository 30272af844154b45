"""Counts of events by item and of repeats, on rows that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tfx_pipeline.datasets.importer import event_counts
from tfx_pipeline.datasets.importer.event_counts import ItemTally
from tfx_pipeline.datasets.importer.event_counts import RepeatTally


def block(rows: list[tuple[str, str, int, int]]) -> pa.Table:
    names = ["entity_type", "entity_id", "ordinal", "timestamp"]
    return pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


@pytest.mark.parametrize("least", [1, 1_000_000])
def test_items_in_the_order_of_their_first_events(
    least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_counts, "_LEAST", least)  # summed on the way, or at the end alone
    tally = ItemTally()
    tally.add(block([("item", "b", 0, 30), ("item", "a", 1, 20), ("item", "b", 2, 10)]))
    tally.add(block([("video", "a", 3, 40), ("item", "a", 4, 5)]))
    tally.add(block([("item", "a", 5, 50)]))
    assert tally.events == 6
    for _ in range(2):  # asking changes nothing
        assert tally.table().select(
            ["entity_type", "entity_id", "events", "ordinal", "timestamp"]
        ).to_pydict() == {
            "entity_type": ["item", "item", "video"],
            "entity_id": ["b", "a", "a"],
            "events": [2, 3, 1],
            "ordinal": [0, 1, 3],
            "timestamp": [10, 5, 40],  # the earliest, which need not be that of the first row
        }


def test_a_repeat_is_an_item_that_its_own_user_had() -> None:
    tally = RepeatTally()
    tally.add(pa.array(["1", "2", "1"]), pa.array(["item:2", "item:1", "item:1"]))
    assert tally.share() == 0.0
    tally.add(pa.array(["1", "2"]), pa.array(["item:2", "item:2"]))
    assert tally.share() == pytest.approx(1 / 5)
    tally.add(pa.array(["1"]), pa.array(["item:2"]))
    assert tally.share() == pytest.approx(2 / 6)


def test_repeats_are_counted_exactly_or_on_a_sample() -> None:
    random = np.random.default_rng(5)
    users = [f"u{n}" for n in random.integers(0, 400, 20_000)]
    items = [f"item:{n}" for n in random.integers(0, 100, 20_000)]
    exact = 1 - len(set(zip(users, items, strict=True))) / 20_000
    whole, sampled = RepeatTally(), RepeatTally(most=3_000)
    for start in range(0, 20_000, 1_000):
        rows = slice(start, start + 1_000)
        for tally in (whole, sampled):
            tally.add(pa.array(users[rows]), pa.array(items[rows]))
    assert (whole.share(), whole.level) == (pytest.approx(exact), 0)
    assert sampled.share() == pytest.approx(exact, abs=0.05) and sampled.level > 0
    assert RepeatTally().share() == 0.0
