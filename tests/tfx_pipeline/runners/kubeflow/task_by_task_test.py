"""A compiled ranker, each task as its own process, artifacts and pushed versions in S3."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from serving.publishing.labels import read_labels
from serving.publishing.versions import pushed_versions
from tfx_pipeline.config_file import given_values
from tfx_pipeline.datasets.registry import prepare
from tfx_pipeline.runners.kubeflow.compile import compile_pipeline
from tfx_pipeline.runners.kubeflow.emulator.run import run_compiled
from tfx_pipeline.runners.kubeflow.emulator.spec import CompiledPipeline
from tfx_pipeline.runners.kubeflow.emulator.spec import parse_compiled
from transforms.storage import place

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3_600)]
TASKS = {
    "run-state",
    "timeline-example-gen",
    "curated-schema-gen",
    "transform",
    "ranking-latest-blessed",
    "ranking-trainer",
    "ranking-evaluator",
    "ranking-pusher",
}
RELEASE = {"ranking-evaluator", "ranking-pusher"}
DAY = 86_400_000_000


@pytest.fixture(scope="module")
def pipeline() -> CompiledPipeline:
    keys = (
        "retrieval=null",
        "ranking.trainer.model=logistic_regression",
        "ranking.trainer.steps_per_epoch=60",  # no gate lets a model worse than chance pass
        "ranking.trainer.input.batch_size=64",
        "ranking.trainer.tensorboard=false",
        "ranking.evaluation.min_users=1",
        "ranking.evaluation.thresholds={}",
        "ranking.evaluation.change_thresholds={}",
        "ranking.serving_validation.enabled=false",
    )
    spec, _ = compile_pipeline(given_values("shop_ranking", keys), "shop_ranking")
    whole = parse_compiled(spec)
    return without(whole, {task.name for task in whole.tasks} - TASKS)


def without(pipeline: CompiledPipeline, names: set[str]) -> CompiledPipeline:
    """Returns a pipeline without some of its tasks."""
    tasks = tuple(task for task in pipeline.tasks if task.name not in names)
    return dataclasses.replace(pipeline, tasks=tasks)


def grow(log: Path, whole: Path) -> None:
    """Adds the last day of a log to one that lacks it; makes the one that lacks it at first."""
    events = pa.concat_tables([pq.read_table(file) for file in (whole / "events").iterdir()])
    times = events["timestamp"].cast(pa.int64())
    last = pc.greater(times, pc.max(times).as_py() - DAY)
    if not log.exists():
        shutil.copytree(whole, log, ignore=shutil.ignore_patterns("events"))
        (log / "events").mkdir()
        pq.write_table(events.filter(pc.invert(last)), log / "events/before.parquet")
    else:
        pq.write_table(events.filter(last), log / "events/new.parquet")


def test_tasks_run_in_pods_push_into_a_store_and_run_again_where_the_log_grew(
    pipeline: CompiledPipeline, bucket: str, tmp_path: Path
) -> None:
    log, work, pushed = tmp_path / "log", tmp_path / "work", f"{bucket}/pushed/ranking"
    prepare("shop", tmp_path / "whole", users=60, images=False)
    grow(log, tmp_path / "whole")
    parameters = {
        "log_dir": str(log),
        "push_dir": f"{bucket}/pushed",
        "ranking_trainer_epochs": "1",
        "ranking_trainer_seed": "3",
    }
    done = run_compiled(pipeline, parameters, work, bucket)
    assert set(done.outputs) == TASKS and not done.cached
    model = done.outputs["ranking-trainer"].artifacts["model"]
    assert model["uri"].startswith(f"{bucket}/shop-ranking/")
    fetched = done.fetch(tmp_path / "fetched", {"model", "model_run"})["ranking-trainer"]
    assert Path(fetched["model"], "Format-Serving", "saved_model.pb").is_file()
    report = json.loads(Path(fetched["model_run"], "training.json").read_text("utf-8"))
    assert report["epochs"], "one epoch was trained"
    examples = done.outputs["timeline-example-gen"].artifacts["examples"]["metadata"]
    state = done.outputs["run-state"].parameters
    assert examples["input_fingerprint"] == state["timeline_example_gen__input_fingerprint"]
    custom = json.loads(state["ranking_trainer__custom_config"])
    assert json.loads(custom["config"])["seed"] == 3
    # Only what a task was given was in its folder, which is gone with its pod.
    assert [path.name for path in (work / "tasks/ranking-trainer").iterdir()] == ["log.txt"]
    assert pushed_versions(pushed) == [1]
    version: Any = place(pushed) / "1"
    assert (version / "saved_model.pb").is_file() and (version / "_MANIFEST.json").is_file()
    labels = read_labels(pushed)
    assert labels is not None and labels.versions == {"stable": 1, "canary": 1}

    # The log is as it was: nothing is trained, and nothing pushed.
    again = run_compiled(pipeline, parameters, work, bucket)
    assert set(again.cached) == TASKS - {"run-state"}
    assert pushed_versions(pushed) == [1]

    # It grew: data and model are made again, beside the version that is in the store.
    grow(log, tmp_path / "whole")
    third = run_compiled(without(pipeline, RELEASE), parameters, work, bucket)
    assert third.cached == ["curated-schema-gen"]
    assert third.outputs["ranking-latest-blessed"].artifacts["model"]["metadata"]["version"] == 1
