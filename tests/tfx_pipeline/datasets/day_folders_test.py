from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from tests.tfx_pipeline.datasets.small_log import catalogue
from tests.tfx_pipeline.datasets.small_log import events
from tests.tfx_pipeline.datasets.small_log import put
from tests.tfx_pipeline.datasets.small_log import say
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.plan import make_plan
from tfx_pipeline.datasets.day_folders import DayRange
from tfx_pipeline.datasets.day_folders import day_of
from tfx_pipeline.datasets.day_folders import span_of
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.validate import inspect_event_log

ROOT = Path("log")
FILES = [ROOT / f"events/day=2024-05-{day:02}/a.parquet" for day in (1, 2, 3, 7)]


def chosen(**given: object) -> list[int]:
    found = DayRange.model_validate(given).choose(FILES, ROOT)
    return [int(path.parent.name[-2:]) for path in found]


def test_days_are_chosen_by_their_folders() -> None:
    assert chosen() == [1, 2, 3, 7]
    assert chosen(first="2024-05-02") == [2, 3, 7]
    assert chosen(last="2024-05-03") == [1, 2, 3]
    assert chosen(first="2024-05-02", last="2024-05-03") == [2, 3]
    assert chosen(newest=1) == [7]
    assert chosen(newest=5) == [3, 7]  # calendar days: the 3rd to the 7th
    assert chosen(newest=2, last="2024-05-03") == [2, 3]
    assert chosen(newest=2, last="2024-06-30") == [7]  # up to what is there


def test_a_day_is_in_the_innermost_folder_that_is_named_after_one() -> None:
    day = datetime.date(2024, 5, 1)
    for folder in ("day=2024-05-01", "2024-05-01", "dt=2024-05-01/hour=3", "country=be/2024-05-01"):
        assert day_of(ROOT / "events" / folder / "a.parquet", ROOT) == day
    for folder in ("", "day=2024-13-01", "week-2024-05-01"):
        assert day_of(ROOT / "events" / folder / "2024-05-01.parquet", ROOT) is None
    assert span_of(day) == 19844  # as TFX numbers {YYYY}-{MM}-{DD}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"first": "2024-05-01", "newest": 2}, "both say where days begin"),
        ({"first": "2024-05-02", "last": "2024-05-01"}, "must not be after"),
        ({"newest": 0}, "greater than or equal to 1"),
        ({"last": "yesterday"}, "valid date"),
    ],
)
def test_ranges_that_mean_nothing_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DayRange.model_validate(given)


def test_what_has_no_such_folder_is_said() -> None:
    with pytest.raises(ValueError, match="no folder of these days: it has 2024-05-01 to 2024-05-0"):
        chosen(first="2024-06-01", last="2024-06-02")
    with pytest.raises(ValueError, match=r"`events/b.parquet` is in none"):
        DayRange(newest=1).choose([*FILES, ROOT / "events/b.parquet"], ROOT)


def test_a_log_is_what_its_chosen_days_hold(tmp_path: Path) -> None:
    put(tmp_path, "events", events(12), "day=2023-11-13/a.parquet")
    put(tmp_path, "events", events(9), "day=2023-11-14/a.parquet")
    put(tmp_path, "catalogue", catalogue())
    say(tmp_path, name="toy", event_types=["click"])
    then = DayRange(last="2023-11-14")
    before, whole = EventLog(tmp_path).fingerprint(then), EventLog(tmp_path).fingerprint()
    put(tmp_path, "events", events(6), "day=2023-11-15/a.parquet")
    assert EventLog(tmp_path).fingerprint(then) == before
    assert EventLog(tmp_path).fingerprint() != whole
    config = TimelineConfig(days=DayRange(newest=2))
    plan = make_plan(str(tmp_path), config)
    assert (plan.rows["events"], plan.rows["catalogue"]) == (15, 4)
    assert plan.span == span_of(datetime.date(2023, 11, 15))
    assert inspect_event_log(tmp_path, config).totals["events"] == 15
    assert make_plan(str(tmp_path), TimelineConfig(days=then)).span == plan.span - 1
