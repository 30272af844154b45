"""Data and Trainer of a compiled file, each task as its own process, artifacts in S3."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from tfx_pipeline.config_file import given_values
from tfx_pipeline.datasets.registry import prepare
from tfx_pipeline.runners.kubeflow.compile import compile_pipeline
from tfx_pipeline.runners.kubeflow.emulator.run import run_compiled
from tfx_pipeline.runners.kubeflow.emulator.spec import CompiledPipeline
from tfx_pipeline.runners.kubeflow.emulator.spec import parse_compiled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
TASKS = {
    "run-state",
    "timeline-example-gen",
    "curated-schema-gen",
    "transform",
    "trainer",
}


@pytest.fixture(scope="module")
def pipeline() -> CompiledPipeline:
    keys = (
        "retrieval.trainer.steps_per_epoch=5",
        "retrieval.trainer.input.batch_size=64",
        "retrieval.trainer.tensorboard=false",
    )
    spec, _ = compile_pipeline(given_values("shop_demo", keys), "shop_demo")
    whole = parse_compiled(spec)
    return dataclasses.replace(
        whole, tasks=tuple(task for task in whole.tasks if task.name in TASKS)
    )


def test_data_and_trainer_run_in_pods_and_again_from_the_cache(
    pipeline: CompiledPipeline, bucket: str, tmp_path: Path
) -> None:
    log, work = tmp_path / "log", tmp_path / "work"
    prepare("shop", log, users=60, images=False)
    parameters = {
        "log_dir": str(log),
        "push_dir": str(tmp_path / "pushed"),
        "retrieval_trainer_epochs": "1",
        "retrieval_trainer_seed": "3",
    }
    done = run_compiled(pipeline, parameters, work, bucket)
    assert set(done.outputs) == TASKS and not done.cached
    model = done.outputs["trainer"].artifacts["model"]
    assert model["uri"].startswith(f"{bucket}/shop-demo/")
    fetched = done.fetch(tmp_path / "fetched", {"model", "model_run"})
    assert Path(fetched["trainer"]["model"], "Format-Serving", "saved_model.pb").is_file()
    report = json.loads(Path(fetched["trainer"]["model_run"], "training.json").read_text("utf-8"))
    assert report["epochs"], "one epoch was trained"
    examples = done.outputs["timeline-example-gen"].artifacts["examples"]["metadata"]
    state = done.outputs["run-state"].parameters
    assert examples["input_fingerprint"] == state["timeline_example_gen__input_fingerprint"]
    custom = json.loads(state["trainer__custom_config"])
    assert json.loads(custom["config"])["seed"] == 3
    # Only what a task was given was in its folder, which is gone with its pod.
    assert [path.name for path in (work / "tasks" / "trainer").iterdir()] == ["log.txt"]
    again = run_compiled(pipeline, parameters, work, bucket)
    assert set(again.cached) == TASKS - {"run-state"}
