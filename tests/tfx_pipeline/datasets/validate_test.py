"""`validate_event_log`: what it counts, and logs that are wrong as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.tfx_pipeline.datasets.small_log import NOON
from tests.tfx_pipeline.datasets.small_log import catalogue
from tests.tfx_pipeline.datasets.small_log import events
from tests.tfx_pipeline.datasets.small_log import of
from tests.tfx_pipeline.datasets.small_log import only
from tests.tfx_pipeline.datasets.small_log import put
from tests.tfx_pipeline.datasets.small_log import say
from tests.tfx_pipeline.datasets.small_log import sound_log
from tfx_pipeline.datasets.validate import inspect_event_log
from tfx_pipeline.datasets.validate import validate_event_log


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return sound_log(tmp_path / "log")


def test_a_sound_log_has_no_problem(log: Path) -> None:
    assert validate_event_log(log) == []


def test_what_a_log_holds_is_counted(log: Path) -> None:
    put(log, "events", events(event=["view"] * 9 + ["buy"] * 3))
    put(log, "catalogue", catalogue(entity_type=["item"] * 3 + ["video"]))
    say(log, name="toy")
    found = inspect_event_log(log).summary
    assert (found.users, found.events) == (3, {"view": 9, "buy": 3})
    assert found.entities == {"item": 3, "video": 1}
    assert found.times == (NOON, NOON + 11)
    text = found.text(ordinal=False)
    assert "12 events (view 9, buy 3), from 2023-11-14 to 2023-11-14" in text
    assert "4 rows (item 3, video 1)" in text
    put(log, "events", events(user_id=[1] * 12))
    text = inspect_event_log(log).summary.text(ordinal=False)
    assert "users      0\n  events     none that can be read\n" in text
    put(log, "events", events(timestamp=["yesterday"] * 12))
    text = inspect_event_log(log).summary.text(ordinal=False)
    assert "none that can be read" in text  # for a run leaves them all out


def test_images_are_left_alone_when_nobody_asks(log: Path) -> None:
    put(log, "catalogue", catalogue(image=pa.array([b"no image"] * 4, pa.binary())))
    assert only(validate_event_log(log), "bad-image").count == 4
    assert inspect_event_log(log, images=False).problems == []


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    problem = only(validate_event_log(tmp_path / "nowhere"), "missing-log")
    assert "events/*.parquet" in problem.message


def test_missing_tables_and_manifest(log: Path) -> None:
    for path in (log / "catalogue" / "a.parquet", log / "users" / "a.parquet"):
        path.unlink()
    (log / "manifest.json").unlink()
    problems = validate_event_log(log)
    found = [(p.severity, p.kind, p.table) for p in problems]
    assert found == [
        ("error", "missing-manifest", "log"),
        ("error", "missing-table", "catalogue"),
        ("info", "missing-users", "users"),
    ]
    assert '"time": "real"' in problems[0].message


def test_a_manifest_that_is_wrong(log: Path) -> None:
    say(log, name="toy", tme="real")
    assert "nearest is `time`" in only(validate_event_log(log), "bad-manifest").message
    say(log, name="toy", time="utc")
    message = only(validate_event_log(log), "bad-manifest").message
    assert "time: Input should be 'real' or 'ordinal'; received 'utc'." in message
    assert "pydantic" not in message and "\n" not in message


def test_counts_that_differ_from_the_manifest(log: Path) -> None:
    say(log, name="toy", events=13, users=3, entities={"item": 4})
    assert "13 events, the files hold 12" in only(validate_event_log(log), "count-differs").message


def test_a_problem_prints_as_plain_text(log: Path) -> None:
    put(log, "events", events(event=["click"] * 11 + ["clik"]))
    lines = str(only(validate_event_log(log), "unknown-event-type")).splitlines()
    assert lines[0].startswith("error: events.event: 1 of 12 events are of a type")
    assert lines[1] == "    file='events/a.parquet', row=11, event='clik'"


def test_rows_are_counted_across_batches_and_files(log: Path) -> None:
    """Row numbers and sums stay right when a table comes in many pieces."""
    n = 300_000  # several batches of a file
    kinds = np.zeros(n, int)
    kinds[[5, 200_000, 299_999]] = 1
    many = pa.table(
        {
            "user_id": pa.array(np.arange(n) // 50).cast(pa.string()),
            "entity_type": pa.array(["item"]).take(pa.array(np.zeros(n, int))),
            "entity_id": pa.array(np.arange(n) % 4).cast(pa.string()),
            "event": pa.array(["click", "clik"]).take(pa.array(kinds)),
            "timestamp": NOON + np.arange(n),
            "ordinal": np.arange(n),
        }
    )
    put(log, "events", many, "b.parquet")
    problem = only(validate_event_log(log), "unknown-event-type")
    assert [s["row"] for s in problem.samples] == [5, 200_000, 299_999]
    assert "3 of 300,012 events" in problem.message


def test_rows_of_lists_are_right_beyond_the_first_batch(log: Path) -> None:
    n = 3_000
    attributes: list[list[str] | None] = [["a=b", "c=d"], None, []] * (n // 3)
    attributes[2_500] = ["a=b", "red"]
    related: list[list[str] | None] = [None] * n
    related[2_999] = ["item:7", "item:none"]
    many = pa.table(
        {
            "entity_type": ["item"] * n,
            "entity_id": [str(i) for i in range(n)],
            "attributes": attributes,
            "related_ids": pa.array(related, pa.list_(pa.string())),
        }
    )
    put(log, "catalogue", many)
    problems = validate_event_log(log)
    assert of(problems, "attribute-form").samples[0]["row"] == 2_500
    assert of(problems, "related-unknown").samples[0]["row"] == 2_999
