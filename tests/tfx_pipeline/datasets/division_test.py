"""A log in two parts, by hand."""

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from tests.tfx_pipeline.datasets import small_log
from tfx_pipeline.cli import cli
from tfx_pipeline.datasets.division import divide_log
from tfx_pipeline.datasets.event_log import EVENTS
from tfx_pipeline.datasets.event_log import EventLog


def rows_of(log):
    table = EventLog(log).read("events")
    return sorted(zip(table["user_id"].to_pylist(), table["ordinal"].to_pylist(), strict=True))


def events_of(rows):
    names = ("user_id", "entity_id", "event", "timestamp", "ordinal", "page_id")
    made = [dict(zip(names, row, strict=True)) | {"entity_type": "item"} for row in rows]
    return pa.Table.from_pylist(made, EVENTS)


def test_the_last_of_each_users_events_are_later(tmp_path):
    # By time and, at 7, by ordinal: a did 9, 2, 5, 6; half of these is two. b did one thing.
    rows = [("a", "1", "click", 7, 5, None), ("a", "2", "click", 7, 2, None)]
    rows += [("a", "3", "click", 3, 9, None), ("a", "0", "click", 8, 6, None)]
    rows += [("b", "2", "click", 1, 0, None), ("c", "1", "click", 1, 1, None)]
    rows += [("c", "2", "click", 2, 8, None)]
    log = small_log.sound_log(tmp_path / "log")
    small_log.put(log, "events", events_of(rows))
    known, later = divide_log(log, tmp_path / "out", share=0.5)
    assert (known.events, later.events) == (4, 3)
    assert rows_of(tmp_path / "out" / "known") == [("a", 2), ("a", 9), ("b", 0), ("c", 1)]
    assert rows_of(tmp_path / "out" / "later") == [("a", 5), ("a", 6), ("c", 8)]


def test_at_least_one_event_is_later_and_one_known(tmp_path):
    rows = [("a", "1", "click", i, i, None) for i in range(3)]
    log = small_log.sound_log(tmp_path / "log")
    small_log.put(log, "events", events_of(rows))
    assert [one.events for one in divide_log(log, tmp_path / "few", share=0.01)] == [2, 1]
    assert [one.events for one in divide_log(log, tmp_path / "most", share=0.99)] == [1, 2]


def test_a_page_is_not_divided_and_impressions_are_no_events(tmp_path):
    # Of the clicks the last is later, 6; its page began at 3. What was shown at 7 is later, too.
    rows = [("a", "1", "impression", 0, 0, "p"), ("a", "1", "click", 1, 1, "p")]
    rows += [("a", "2", "impression", 3, 2, "q"), ("a", "3", "impression", 3, 3, "q")]
    rows += [("a", "0", "click", 4, 4, None), ("a", "2", "click", 6, 5, "q")]
    rows += [("a", "1", "impression", 7, 6, "r"), ("b", "1", "impression", 3, 7, "q")]
    log = small_log.sound_log(tmp_path / "log")
    small_log.put(log, "events", events_of(rows))
    divide_log(log, tmp_path / "out", share=0.3)
    assert rows_of(tmp_path / "out" / "known") == [("a", 0), ("a", 1), ("a", 4), ("b", 7)]
    assert rows_of(tmp_path / "out" / "later") == [("a", 2), ("a", 3), ("a", 5), ("a", 6)]


def test_what_is_asked_about_is_hidden_from_the_known_part(tmp_path):
    log = small_log.sound_log(tmp_path / "log")
    small_log.put(log, "catalogue", small_log.catalogue(categories=[["x"], [], None, ["y"]]))
    (log / "features" / "style").mkdir(parents=True)
    (log / "features" / "style" / "a.parquet").write_bytes(b"as it is")
    divide_log(log, tmp_path / "all", share=0.5)
    divide_log(log, tmp_path / "none", share=0.5, hide=())
    told = {"categories": [["x"], [], None, ["y"]], "attributes": [["country=nl"]]}
    for name, side, hidden in (
        ("all", "known", True), ("all", "later", False), ("none", "known", False)
    ):  # fmt: skip
        read = EventLog(tmp_path / name / side)
        categories = read.read("catalogue")["categories"].to_pylist()
        assert categories == ([None] * 4 if hidden else told["categories"])
        attributes = read.read("users")["attributes"].to_pylist()
        assert attributes == ([None] if hidden else told["attributes"])
        assert read.read("catalogue")["attributes"].null_count == 1
    assert (tmp_path / "all/known/features/style/a.parquet").read_bytes() == b"as it is"


def test_a_moment_divides_and_the_command_says_what_it_made(tmp_path):
    log = small_log.sound_log(tmp_path / "log")
    day = 86_400_000_000
    stamps = list(small_log.NOON + day * np.arange(12))  # the fourth day begins before the fourth
    small_log.put(log, "events", small_log.events(timestamp=stamps))
    arguments = ["data", "divide", str(log), "--out", str(tmp_path / "out")]
    found = CliRunner().invoke(cli, [*arguments, "--from", "2023-11-17"], catch_exceptions=False)
    assert "known: 3 events of 3 users" in found.output
    assert "later: 9 events of 3 users" in found.output
    assert "lacks user-attributes and categories" in found.output
    assert CliRunner().invoke(cli, [*arguments, "--from", "soon"]).exit_code == 2
    assert CliRunner().invoke(cli, [*arguments, "--from", "2023-11-17", "--share", ".1"]).exit_code


def test_what_cannot_be_divided_is_said(tmp_path):
    log = small_log.sound_log(tmp_path / "log")
    with pytest.raises(ValueError, match="above 0 and below 1"):
        divide_log(log, tmp_path / "out", share=1.0)
    with pytest.raises(ValueError, match="one of the two"):
        divide_log(log, tmp_path / "out")
    with pytest.raises(ValueError, match="received \\['prices'\\]"):
        divide_log(log, tmp_path / "out", share=0.1, hide=["prices"])
    with pytest.raises(ValueError, match="would be later"):
        divide_log(log, tmp_path / "out", moment=2 * small_log.NOON)
    small_log.say(log, name="toy", time="ordinal")
    with pytest.raises(ValueError, match="no moments"):
        divide_log(log, tmp_path / "out", moment=small_log.NOON)
    divide_log(log, tmp_path / "out", share=0.5)
    with pytest.raises(FileExistsError):
        divide_log(log, tmp_path / "out", share=0.5)
