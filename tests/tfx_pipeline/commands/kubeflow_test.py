"""What `vitrine compile` and `vitrine run --from-compiled` tell the user."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.tfx_pipeline.runners.kubeflow.small_pipeline import spec
from tfx_pipeline.cli import cli
from tfx_pipeline.commands.kubeflow import compile_to
from tfx_pipeline.commands.kubeflow import named
from tfx_pipeline.commands.kubeflow import pushed_lines
from tfx_pipeline.commands.kubeflow import run_compiled_file
from tfx_pipeline.runners.kubeflow.emulator.metadata import Outputs
from tfx_pipeline.runners.kubeflow.emulator.run import CompiledRun
from tfx_pipeline.runners.kubeflow.emulator.spec import read_compiled
from tfx_pipeline.runners.kubeflow.emulator.store import Store
from tfx_pipeline.stages.table import STAGES


def test_the_compiler_says_what_a_run_has_to_be_told(tmp_path: Path) -> None:
    output = tmp_path / "new" / "pipeline.yaml"
    lines = compile_to("shop_demo", ("retrieval.trainer.seed=4",), output).splitlines()
    assert lines[0] == f"compiled  {output}, {len(read_compiled(output).tasks)} tasks"
    assert "  log_dir                      has to be given" in lines
    assert "  retrieval_trainer_seed       4" in lines
    assert output.is_file()


def test_a_mistake_in_the_configuration_is_said_as_ever(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`imag` is not a key.*nearest is `image`"):
        compile_to("shop_demo", ("kubeflow.imag=a:1",), tmp_path / "pipeline.yaml")


def test_without_kfp_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kfp", None)
    monkeypatch.setitem(sys.modules, "kfp.pipeline_spec", None)
    with pytest.raises(RuntimeError, match="extra `kubeflow`"):
        compile_to("shop_demo", (), tmp_path / "pipeline.yaml")
    with pytest.raises(RuntimeError, match="extra `kubeflow`"):
        run_compiled_file(tmp_path / "pipeline.yaml", (), None, "", 0.0)


def test_parameters_are_written_as_in_the_file_or_as_keys() -> None:
    given = named(["log_dir=s3://a/log?x=1", "retrieval.trainer.seed=2"])
    assert given == {"log_dir": "s3://a/log?x=1", "retrieval_trainer_seed": "2"}


def test_a_run_is_of_a_configuration_or_of_a_compiled_file(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(spec()), encoding="utf-8")
    for arguments in (["run"], ["run", "shop_demo", "--from-compiled", str(file)]):
        found = CliRunner().invoke(cli, arguments)
        assert found.exit_code == 2 and "--from-compiled" in found.output


def test_a_compiled_file_runs_and_its_metrics_are_written(tmp_path: Path) -> None:
    file, work = tmp_path / "pipeline.yaml", tmp_path / "work"
    file.write_text(yaml.safe_dump(spec()), encoding="utf-8")
    text, blessed = run_compiled_file(file, ("text=a",), work, "", 0.0)
    assert blessed and (work / "metrics.json").is_file()
    assert f"all    {work / 'metrics.json'}" in text


def test_what_a_compiled_run_pushed_is_said() -> None:
    facts = {"pushed": 1, "pushed_destination": "s3://a/my push/4", "pushed_version": "4"}
    outputs = Outputs({"pushed_model": {"uri": "s3://b", "metadata": facts}})
    run = CompiledRun(Store(None), {"pusher": outputs})
    assert pushed_lines(STAGES["retrieval"], run) == [
        "push   version 4 in s3://a/my push",
        "serve  vitrine serve --base-path 's3://a/my push'",
    ]
    facts["pushed"] = 0
    assert pushed_lines(STAGES["retrieval"], run) == []
    assert pushed_lines(STAGES["ranking"], run) == []
