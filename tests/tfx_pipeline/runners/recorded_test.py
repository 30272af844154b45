from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.recorded_runs import Step
from tests.helpers.recorded_runs import record_run
from tfx_pipeline.runners.recorded import read_run
from tfx_pipeline.runners.recorded import read_runs
from tfx_pipeline.runners.recorded import unpacked

GENERATOR = Step(
    "timeline-example-gen",
    properties={"input_fingerprint": "abc", "code_version": "1"},
    outputs={"examples": {"span": 0}},
)
TRAINER = Step(
    "trainer",
    properties={"custom_config": {"code_version": "2", "config": '{"seed": 1}'}},
    outputs={"model": {}, "model_run": {}},
)


def test_a_run_has_its_components_in_order_with_what_they_made(tmp_path: Path):
    record_run(tmp_path, [GENERATOR, TRAINER])
    (run,) = read_runs(tmp_path)
    assert list(run.steps) == ["timeline-example-gen", "trainer"]
    assert (run.number, run.pipeline, run.state, run.stopped_in) == (1, "shop", "COMPLETE", "")
    assert run.steps["trainer"].properties["custom_config"]["config"] == {"seed": 1}
    assert [step.code_version for step in run.steps.values()] == ["1", "2"]
    assert run.output("trainer", "model") == tmp_path / "artifacts/trainer/model/2"


def test_runs_are_numbered_and_the_newest_stands_for_the_directory(tmp_path: Path):
    record_run(tmp_path, [GENERATOR])
    record_run(tmp_path, [GENERATOR, TRAINER])
    assert [(run.number, run.newest) for run in read_runs(tmp_path)] == [(1, False), (2, True)]
    assert read_run(str(tmp_path)).number == 2
    assert list(read_run(f"{tmp_path}@1").steps) == ["timeline-example-gen"]


def test_a_directory_that_was_moved_still_has_its_artifacts(tmp_path: Path):
    record_run(tmp_path, [TRAINER], made_in=Path("/somewhere/else"))
    assert read_run(str(tmp_path)).output("trainer", "model_run") is not None


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([GENERATOR], "This run has no component `trainer`."),
        ([Step("transform", "FAILED")], "The run stopped in `transform`, before `trainer` began."),
        ([Step("trainer", "FAILED")], "`trainer` failed; "),
        ([Step("trainer", "RUNNING")], "`trainer` did not finish: "),
    ],
)
def test_a_missing_output_says_why(tmp_path: Path, steps: list[Step], said: str):
    record_run(tmp_path, steps)
    run = read_run(str(tmp_path))
    assert run.output("trainer", "model") is None
    assert run.why_missing("trainer", "model").startswith(said)


def test_files_that_are_gone_are_said_to_be(tmp_path: Path):
    record_run(tmp_path, [TRAINER])
    run = read_run(str(tmp_path))
    (tmp_path / "artifacts/trainer/model/1").rmdir()
    assert run.output("trainer", "model") is None
    assert "no longer" in run.why_missing("trainer", "model")


def test_what_no_run_made_is_no_run(tmp_path: Path):
    with pytest.raises(ValueError, match=r"not the directory of a run"):
        read_runs(tmp_path)
    record_run(tmp_path, [GENERATOR])
    with pytest.raises(ValueError, match=r"has the runs 1 to 1; there is no run 2"):
        read_run(f"{tmp_path}@2")


def test_json_inside_json_is_unpacked_and_other_text_stays():
    packed = {"a": '{"b": "[1, 2]"}', "c": "{no json", "d": 1}
    assert unpacked(packed) == {"a": {"b": [1, 2]}, "c": "{no json", "d": 1}
