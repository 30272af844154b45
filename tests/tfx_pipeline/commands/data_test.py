"""`vitrine data validate` and `prepare` say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tfx_pipeline.commands.log_check_test import make_log
from tfx_pipeline.commands.data import prepare_log
from tfx_pipeline.commands.data import validate_log


def test_a_sound_log_is_counted(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log")
    text, sound = validate_log(log)
    assert sound
    assert f"{log}: 0 errors, 1 other remark; a run would use it\n" in text  # no users table
    assert "users      10\n" in text
    assert "test users 10 (leave-last-out" in text and "test users 10 (time-cut, valid" in text
    (log / "events" / "b.parquet").write_bytes(b"user_id,event\n")
    text, sound = validate_log(log)
    assert not sound and f"{log}: 1 error, 1 other remark; a run would refuse it\n" in text


def test_a_log_is_judged_as_a_run_of_a_configuration_would_judge_it(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log", user_id=[None] + [f"u{i % 10}" for i in range(199)])
    text, usable = validate_log(log)
    assert usable and "a run would use it without the rows in error\n" in text
    assert "left out   1 of events (user_id is missing 1)" in text
    keys = ("candidate_types=[item]", "target_events=[buy]", "timeline.test_days=2")
    keys += ("timeline.validation_days=1", "retrieval.evaluation.thresholds={}")
    text, usable = validate_log(log, "shop_demo", keys)
    assert usable and text.count("test users") == 2  # a split, a warning
    assert "test users 5 (time-cut, validation_days 1, test_days 2)" in text
    assert "Warning: 5 test users are fewer than `retrieval.evaluation.min_users` (100)" in text
    keys += ("timeline.max_dead_letter_fraction=0.001",)
    text, usable = validate_log(log, "shop_demo", keys)
    assert not usable and "a run would refuse it\n  1 of 200 rows of `events` are bad" in text


def test_a_log_that_is_there_is_kept_unless_overwrite_is_given(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log")
    with pytest.raises(FileExistsError, match="Use it as it is.*`--overwrite`"):
        prepare_log("shop", log, None, ("users=2",), overwrite=False)
