"""The store of histories as the Beam job fills it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from serving.client import Event
from serving.histories import open_store
from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import write_log
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.export.histories import fill_store

T = 1_700_000_000_000_000
ROWS = [
    event("ann", "c", T + 30, query="red shoes", value=4.5),
    event("bob", "x", T + 5, kind="impression", page_id="p"),
    event("ann", "a", T + 10),
    event("ann", "b", T + 20, kind="cart", query="hat"),
    event("ann", "x", T + 25, kind="impression", page_id="p"),
    event("cem", "c", T + 1, query="red shoes"),
    event("ann", "e", T + 40, ordinal=2),
    event("ann", "video:d", T + 40, ordinal=1),
    event("bad", "a", 5),
]
ANN = [
    Event("item:a", "watch", T + 10),
    Event("item:b", "cart", T + 20, 0.0, "hat"),
    Event("item:c", "watch", T + 30, 4.5, "red shoes"),
    Event("video:d", "watch", T + 40),
    Event("item:e", "watch", T + 40),
]
CEM = [Event("item:c", "watch", T + 1, 0.0, "red shoes")]


def test_whole_lives_are_written_and_others_keep_theirs(tmp_path: Path) -> None:
    log, address = write_log(tmp_path / "log", ROWS), str(tmp_path / "histories.sqlite")
    with open_store(address) as store:
        store.write([("ann", CEM), ("dan", CEM)])
        store.append("ann", CEM)
    config = TimelineConfig(split="leave-last-out", buckets=3, max_dead_letter_fraction=0.2)
    options = ["--direct_running_mode=in_memory"]
    counts = fill_store(str(log), config, address, tmp_path / "out", options)
    with open_store(address) as store:
        assert store.read(["ann", "bob", "cem", "dan", "bad"]) == [ANN, [], CEM, CEM, []]
    assert (counts["users"], counts["events"]) == (2, 6)
    [letters] = (tmp_path / "out" / "dead_letter").glob("*.parquet")
    assert pq.read_table(letters).num_rows == 1
    report = json.loads((tmp_path / "out" / "generation_report.json").read_text())
    assert report["rows"]["events"] == len(ROWS)
