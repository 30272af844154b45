"""Copies of a log whose export is timed, and what is said of the times."""

import argparse

import pytest

from benchmarks import export_throughput as module
from benchmarks.results import Results
from tests.tfx_pipeline.components.timeline_example_gen.logs import START
from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import write_log
from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import USERS_TABLE
from tfx_pipeline.datasets.event_log import EventLog


def test_copies_have_other_ids_and_the_same_events(tmp_path):
    rows = [event("u", "item:0", START), event("v", "item:1", START + 1)]
    catalogue = [{"entity_type": "item", "entity_id": str(i), "title": f"T{i}"} for i in range(2)]
    write_log(tmp_path / "log", rows, catalogue, [{"user_id": "u", "attributes": ["a=b"]}])

    users = EventLog(module.copy_log(tmp_path / "log", tmp_path / "users", users=3, items=1))
    items = EventLog(module.copy_log(tmp_path / "log", tmp_path / "items", users=1, items=2))

    assert sorted(users.read(USERS_TABLE)["user_id"].to_pylist()) == ["u", "u-1", "u-2"]
    events = users.read(EVENTS_TABLE).select(["user_id", "entity_id"]).to_pylist()
    assert len(events) == 6 and {"user_id": "v-2", "entity_id": "1"} in events
    assert users.read(CATALOGUE_TABLE).num_rows == 2
    names = items.read(CATALOGUE_TABLE).select(["entity_id", "title"]).to_pylist()
    assert {"entity_id": "1-1", "title": "T1"} in names and len(names) == 4
    assert items.read(EVENTS_TABLE).num_rows == 2


def test_other_models_are_compared_with_the_two_tower_of_their_seed(tmp_path, monkeypatch):
    cost = {"two_tower": 2.0, "guim": 5.0}

    def measure(model, *_):
        row = {"rows_per_second": 1.0, "core_hours_per_million": cost[model]}
        return dict.fromkeys(("users", "items", "users, again", "items, again"), row)

    monkeypatch.setattr(module, "measure", measure)
    results = Results("export_throughput", "some command", directory=tmp_path)
    options = argparse.Namespace(users=2, items=3, log_dir=tmp_path, runs_dir=tmp_path)
    module.keep(results, "two_tower", 0, options)
    module.keep(results, "guim", 0, options)
    module.keep(results, "guim", 1, options)  # of which there is no two-tower

    first, second = (
        results.find({"model": "guim", "table": "users"}, seed, {"copies": 2}) for seed in (0, 1)
    )
    assert first.values["over_two_tower"] == pytest.approx(2.5)
    assert "over_two_tower" not in second.values
