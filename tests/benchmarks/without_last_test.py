"""A log without everybody's last event, by hand."""

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.interactions import read_interactions
from benchmarks.without_last import write_without_last
from tfx_pipeline.datasets.event_log import CATALOGUE
from tfx_pipeline.datasets.event_log import EVENTS
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.event_log import Manifest
from tfx_pipeline.datasets.event_log import write_event_log


def test_the_newest_event_of_every_user_is_left_out(tmp_path):
    # User, item, time, place in the source: a's last is the second at time 7, b has one event.
    a = [("a", "1", 7, 5), ("a", "3", 7, 2), ("a", "2", 3, 9)]
    rows = [*a, ("b", "2", 1, 0), ("c", "1", 2, 1), ("c", "2", 1, 8)]
    events = [
        {"user_id": user, "entity_type": "item", "entity_id": item, "event": "view",
         "timestamp": time, "ordinal": place}
        for user, item, time, place in rows
    ]  # fmt: skip
    catalogue = [{"entity_type": "item", "entity_id": name} for name in "123"]
    write_event_log(
        tmp_path / "log",
        Manifest(name="small", time="ordinal"),
        pa.Table.from_pylist(events, EVENTS),
        pa.Table.from_pylist(catalogue, CATALOGUE),
    )
    write_without_last(tmp_path / "log", tmp_path / "out")

    left = EventLog(tmp_path / "out")
    assert left.manifest.events == 3 and left.manifest.users == 2
    found = read_interactions(tmp_path / "out")
    parts = np.split(found.names[found.items], found.starts[1:-1])
    assert sorted(part.tolist() for part in parts) == [["item:2"], ["item:2", "item:3"]]
    with pytest.raises(FileExistsError):
        write_without_last(tmp_path / "log", tmp_path / "out")
