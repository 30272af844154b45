"""Which run a command means."""

from __future__ import annotations

import pytest

from tfx_pipeline.commands.finished_run import find_run
from tfx_pipeline.config import load_config


def test_a_run_that_was_copied_is_where_it_is_now(tmp_path):
    made, copied = tmp_path / "made", tmp_path / "copied"
    for folder in (made, copied):
        folder.mkdir()
        config = load_config("shop_demo", (f"run_dir={made}",))
        (folder / "config.yaml").write_text(config.to_yaml())
    assert find_run(copied).serving_base_path == str(copied / "pushed")
    assert find_run(made).serving_base_path == str(made / "pushed")


def test_a_push_directory_of_its_own_stays(tmp_path):
    config = load_config("shop_demo", (f"run_dir={tmp_path / 'x'}", f"push_dir={tmp_path / 'y'}"))
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert find_run(tmp_path).serving_base_path == str(tmp_path / "y")


def test_what_is_no_run_says_so(tmp_path):
    with pytest.raises(ValueError, match="has no config.yaml"):
        find_run(tmp_path)
