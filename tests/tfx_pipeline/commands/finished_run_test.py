"""Which run a command means."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tfx_pipeline.cli import cli
from tfx_pipeline.commands.finished_run import find_run
from tfx_pipeline.commands.finished_run import refusal
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.config_file import load_config


def test_a_run_that_was_copied_is_where_it_is_now(tmp_path):
    made, copied = tmp_path / "made", tmp_path / "copied"
    for folder in (made, copied):
        folder.mkdir()
        config = load_config("shop_demo", (f"run_dir={made}",))
        (folder / "config.yaml").write_text(config.to_yaml())
    assert find_run(copied).push_dir_of("retrieval") == str(copied / "pushed" / "retrieval")
    assert find_run(made).push_dir_of("retrieval") == str(made / "pushed" / "retrieval")


def test_a_push_directory_of_its_own_stays(tmp_path):
    config = load_config("shop_demo", (f"run_dir={tmp_path / 'x'}", f"push_dir={tmp_path / 'y'}"))
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert find_run(tmp_path).push_dir_of("retrieval") == str(tmp_path / "y" / "retrieval")


def test_what_is_no_run_says_so(tmp_path):
    with pytest.raises(ValueError, match="has no config.yaml"):
        find_run(tmp_path)


def finished(tmp_path, gate) -> PipelineConfig:
    config = load_config("shop_demo", (f"run_dir={tmp_path}",))
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    (tmp_path / "metrics.json").write_text(json.dumps({"gate": gate}))
    return find_run(tmp_path)


def test_a_refused_run_says_by_which_gates(tmp_path):
    config = finished(tmp_path, {"blessed": 0, "failures": ["serving: seen: expected none"]})
    assert refusal(config) == (
        f"The last run in {tmp_path} was refused, and pushed nothing: serving: seen: expected "
        "none. There is nothing to serve until a run passes its gates."
    )
    version = tmp_path / "pushed" / "retrieval" / "4"
    version.mkdir(parents=True)
    (version / "saved_model.pb").touch()
    assert refusal(config).endswith("expected none. Version 4, pushed before, is the newest.")


def test_a_refused_ranker_is_named(tmp_path):
    config = load_config("shop_demo", (f"run_dir={tmp_path}", "ranking={}"))
    gates = {"gate": {"blessed": 1}, "ranking": {"gate": {"blessed": 0, "failures": ["auc is .4"]}}}
    (tmp_path / "metrics.json").write_text(json.dumps(gates))
    assert refusal(config) == (
        f"The last run in {tmp_path} was refused in the stage ranking, and pushed nothing: auc is "
        ".4. There is nothing to serve until a run passes its gates."
    )


def test_a_run_that_passed_says_nothing(tmp_path):
    assert refusal(finished(tmp_path, {"blessed": 1, "failures": []})) == ""
    (tmp_path / "metrics.json").unlink()
    assert refusal(find_run(tmp_path)) == ""


def test_serve_mentions_the_refusal(tmp_path):
    finished(tmp_path, {"blessed": 0, "failures": ["hr@10 is 0"]})
    result = CliRunner().invoke(cli, ["serve", "--run", str(tmp_path), "--set", "portt=1"])
    assert "was refused, and pushed nothing: hr@10 is 0" in result.output
