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
    assert f"{log}: 0 errors, 1 other remark\n" in text  # there is no users table
    assert "users      10\n" in text
    (log / "events" / "b.parquet").write_bytes(b"user_id,event\n")
    text, sound = validate_log(log)
    assert not sound and f"{log}: 1 error, 1 other remark\n" in text


def test_a_log_that_is_there_is_kept_unless_overwrite_is_given(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log")
    with pytest.raises(FileExistsError, match="Use it as it is.*`--overwrite`"):
        prepare_log("shop", log, None, ("users=2",), overwrite=False)
