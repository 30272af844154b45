from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.helpers.recorded_runs import Step
from tests.helpers.recorded_runs import record_run
from tfx_pipeline.cli import cli
from tfx_pipeline.commands.runs import compare_runs
from tfx_pipeline.commands.runs import list_runs
from tfx_pipeline.commands.runs import show_run


def steps(seed: int = 1, data: str = "aaaa", code: str = "1", blessed: int = 1) -> list[Step]:
    """Returns a retrieval run that was pushed, or refused by the evaluator."""
    config = {"retrieval": {"trainer": {"seed": seed}}, "target_events": ["click"]}
    pushed = {"pushed": 1, "pushed_version": "3"} if blessed else {"pushed": 0}
    return [
        Step("timeline-example-gen", "CACHED", {"input_fingerprint": data, "code_version": "9"}),
        Step("trainer", properties={"custom_config": {"code_version": code}}),
        Step("evaluator", outputs={"blessing": {"blessed": blessed}}),
        Step("pusher", properties={"run_config": config}, outputs={"pushed_model": pushed}),
    ]


def test_the_list_says_what_ran_and_what_became_of_it(tmp_path: Path):
    record_run(tmp_path, steps())
    record_run(tmp_path, steps(blessed=0))
    record_run(tmp_path, [*steps()[:1], Step("trainer", "FAILED")])
    _, first, second, third = list_runs(tmp_path).splitlines()
    assert "COMPLETE" in first and first.endswith("3 ran, 1 from cache  retrieval pushed version 3")
    assert second.endswith("retrieval refused by evaluator")
    assert "FAILED in trainer" in third and third.endswith("1 ran, 1 from cache")


def test_a_run_is_shown_with_state_code_data_and_configuration(tmp_path: Path):
    record_run(tmp_path, steps(seed=7))
    text = show_run(str(tmp_path))
    assert "data       aaaa" in text
    assert "retrieval.trainer.seed: 7" in text
    assert "trainer               COMPLETE" in text


def test_values_chosen_from_the_log_are_shown_and_unset_ones_are_not(tmp_path: Path):
    config = {"retrieval": {"trainer": {"seed": 7, "model": {"dim": None}, "epochs": None}}}
    trained = Step("trainer", outputs={"model_run": {}})
    pusher = Step("pusher", properties={"run_config": config}, outputs={"pushed_model": {}})
    record_run(tmp_path, [trained, pusher])
    (place,) = tmp_path.rglob("trainer/model_run/*")
    report = {"chosen": {"model.dim": {"value": 64, "reason": "9,000 items"}}}
    (place / "training.json").write_text(json.dumps(report))
    shown = show_run(str(tmp_path)).partition("configuration\n")[2].splitlines()
    assert shown == ["  retrieval.trainer.seed: 7", "  retrieval.trainer.model.dim: 64"]


def test_a_difference_names_what_changed_and_nothing_else(tmp_path: Path):
    record_run(tmp_path, steps())
    record_run(tmp_path, steps(seed=2, data="bbbb", code="2", blessed=0))
    text = compare_runs(str(tmp_path), None)
    assert text.splitlines()[2:] == [
        "data",
        "  fingerprint: bbbb (was aaaa)",
        "code versions",
        "  trainer: 2 (was 1)",
        "configuration",
        "  retrieval.trainer.seed: 2 (was 1)",
        "gates",
        "  evaluator: refused (was blessed)",
        "metrics: none were measured",
    ]
    assert "configuration: the same" in compare_runs(f"{tmp_path}@1", f"{tmp_path}@1")


def test_one_run_has_nothing_to_be_compared_with(tmp_path: Path):
    record_run(tmp_path, steps())
    with pytest.raises(ValueError, match="has one run"):
        compare_runs(str(tmp_path), None)


def test_a_run_that_stopped_early_tells_its_configuration_by_its_file(tmp_path: Path):
    record_run(tmp_path, [Step("trainer", "FAILED")])
    (tmp_path / "config.yaml").write_text("run_dir: here\nretrieval: {trainer: {seed: 5}}\n")
    text = show_run(str(tmp_path))
    assert "retrieval.trainer.seed: 5" in text
    assert "run_dir" not in text.partition("configuration")[2]


def test_the_commands_are_on_the_command_line(tmp_path: Path):
    record_run(tmp_path, steps())
    result = CliRunner().invoke(cli, ["runs", "list", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "pushed version 3" in result.output
