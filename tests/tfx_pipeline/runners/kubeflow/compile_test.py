"""Compiled files: every configuration that ships, what waits for the run, what a pod is given."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.values import load_values
from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import write_log
from tfx_pipeline.config_file import CONFIGS
from tfx_pipeline.config_file import given_values
from tfx_pipeline.config_file import load_config
from tfx_pipeline.pipeline import create_components
from tfx_pipeline.runners.kubeflow.compile import compile_config
from tfx_pipeline.runners.kubeflow.compile import compile_pipeline
from tfx_pipeline.runners.kubeflow.config import KubeflowConfig
from tfx_pipeline.runners.kubeflow.emulator.spec import CompiledPipeline
from tfx_pipeline.runners.kubeflow.emulator.spec import parse_compiled
from tfx_pipeline.runners.kubeflow.emulator.spec import read_compiled
from tfx_pipeline.runners.kubeflow.run_state import RUN_STATE
from tfx_pipeline.runners.kubeflow.run_state import Deferred
from tfx_pipeline.runners.kubeflow.run_state import Executor
from tfx_pipeline.runners.kubeflow.run_state import fingerprints
from tfx_pipeline.stages.state import read_state

SHIPPED = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def compiled(name: str, *overrides: str) -> tuple[CompiledPipeline, dict[str, Any]]:
    spec, platform = compile_pipeline(given_values(name, overrides), name)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return parse_compiled(spec), executors


def deferred_of(pipeline: CompiledPipeline) -> list[Deferred]:
    return [
        Deferred(task.name, key)
        for task in pipeline.tasks
        for key, given in task.inputs("parameters").items()
        if "taskOutputParameter" in given
    ]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_configuration_that_ships_compiles_where_its_data_is_not(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = compile_config(name, (), Path("pipeline.yaml"))
    pipeline = read_compiled(Path("pipeline.yaml"))
    assert pipeline.name == config.name
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.yaml"]
    tasks = {task.name: task for task in pipeline.tasks}
    assert {name for name, task in tasks.items() if not task.cached} == {RUN_STATE}
    found = {f"{one.component}.{one.key}" for one in deferred_of(pipeline)}
    for stage in ("", "ranking-") if config.ranking else ("",):
        assert {
            f"{stage}latest-blessed.release_candidate",
            f"{stage}latest-blessed.serving_state",
            f"{stage}trainer.custom_config",
            f"{stage}pusher.push_dir",
        } <= found
    assert {
        "timeline-example-gen.input_fingerprint",
        "timeline-example-gen.log_dir",
    } <= found
    # What does not depend on the run is compiled in.
    assert not {one.key for one in deferred_of(pipeline)} & {"code_version", "name"}


def test_two_trainers_of_a_stage_compile_and_the_second_reads_the_model_of_the_first() -> None:
    pretrained = ("ranking={trainer: {model: seminar}, pretraining: {epochs: 2}}",)
    pipeline, _ = compiled("shop_demo", *pretrained)
    tasks = {task.name: task for task in pipeline.tasks}
    given = tasks["ranking-trainer"].inputs("artifacts")["base_model"]["taskOutputArtifact"]
    assert given == {"producerTask": "ranking-pretrainer", "outputArtifactKey": "model"}
    assert tasks["ranking-pretrainer"].cached


def test_an_encoder_is_a_parameter_where_one_is_named() -> None:
    made = ("ranking={}", "representation={encoder: runs/encoder}")
    pipeline, _ = compiled("shop_demo", *made)
    tasks = {task.name: task for task in pipeline.tasks}
    assert "defaultValue" not in pipeline.parameters["representation_encoder"]
    waits = {one.key for one in deferred_of(pipeline) if one.component == "image-feature-builder"}
    assert waits == {"encoder", "encoder_state", "input_fingerprint", "log_dir"}
    given = tasks["timeline-example-gen"].inputs("artifacts")["features"]["taskOutputArtifact"]
    assert given == {"producerTask": "image-feature-builder", "outputArtifactKey": "features"}
    trained, _ = compiled("shop_demo", "ranking={}", "representation={}")
    assert "representation_encoder" not in trained.parameters
    assert {"representation_trainer_seed", "representation_trainer_epochs"} <= set(
        trained.parameters
    )
    waits = {one.component for one in deferred_of(trained)}
    assert {"representation-timeline-example-gen", "representation-trainer"} <= waits


def test_a_run_has_to_name_what_no_pod_has_and_may_set_the_rest() -> None:
    pipeline, _ = compiled("shop_demo")
    places = ("log_dir", "push_dir")
    assert not any("defaultValue" in pipeline.parameters[name] for name in places)
    with pytest.raises(ValueError, match="neither default value nor user provided value"):
        pipeline.arguments({})
    given = pipeline.arguments({"log_dir": "s3://a/log", "push_dir": "/models"})
    assert given["retrieval_trainer_seed"] == "1"
    with pytest.raises(ValueError, match="no parameter seed"):
        pipeline.arguments({"seed": "1"})
    pipeline, _ = compiled("shop_demo", "log_dir=gs://shop/log", "run_dir=s3://shop/run")
    assert pipeline.arguments({})["log_dir"] == "gs://shop/log"
    assert pipeline.arguments({})["push_dir"] == "s3://shop/run/pushed"


def test_dates_are_parameters_where_the_split_has_them() -> None:
    days = ("timeline.validation_days=0", "timeline.test_days=0")
    starts = ("timeline.validation_start=2024-05-01", "timeline.test_start=2024-05-02T12:00:00Z")
    pipeline, _ = compiled("shop_demo", *days, *starts)
    defaults = {name: one.get("defaultValue") for name, one in pipeline.parameters.items()}
    assert defaults["timeline_validation_start"] == "2024-05-01T00:00:00+00:00"
    assert defaults["timeline_test_start"] == "2024-05-02T12:00:00+00:00"


def test_a_configuration_chooses_its_parameters() -> None:
    pipeline, _ = compiled("shop_demo", "kubeflow.parameters=[retrieval.evaluation.min_users]")
    assert set(pipeline.parameters) == {"retrieval_evaluation_min_users"}
    assert Deferred("evaluator", "eval_config") in deferred_of(pipeline)
    share = ("timeline.split=leave-share-out", "kubeflow.parameters=[timeline.test_share]")
    days = ("timeline.validation_days=0", "timeline.test_days=0", "timeline.test_share=0.6")
    pipeline, _ = compiled("shop_demo", *share, *days)
    assert pipeline.arguments({}) == {"timeline_test_share": "0.6"}
    for key, message in {
        "retrieval.sources.enabled": "which steps there are",
        "target_events": "no single value",
        "retrieval.nonsense": "no key",
    }.items():
        with pytest.raises(ValueError, match=message):
            compiled("shop_demo", f"kubeflow.parameters=[{key}]")


def test_a_search_before_the_trainer_waits_for_the_run_too() -> None:
    pipeline, _ = compiled("shop_demo", "retrieval.tuning.minutes=1")
    assert {"tuner", "trainer"} <= {one.component for one in deferred_of(pipeline)}


def test_pods_get_resources_images_and_secrets_by_name() -> None:
    pipeline, executors = compiled(
        "shop_demo",
        "kubeflow.image=registry/train:1",
        "kubeflow.steps={trainer: {gpus: 2, cpus: 8, memory_gb: 32, node_selector: {gpu: a}}, "
        "transform: {image: 'registry/beam:1'}}",
        "kubeflow.secrets=[{name: s3, env: {AWS_ACCESS_KEY_ID: id}}, "
        "{name: tls, mount_path: /tls}]",
        "kubeflow.volumes=[{claim: pushed-models, mount_path: /models}]",
        "kubeflow.env={AWS_ENDPOINT_URL: 'http://minio:9000'}",
        "kubeflow.retries=2",
    )
    tasks = {task.name: task for task in pipeline.tasks}
    assert tasks["trainer"].container["resources"] == {
        "cpuLimit": 8.0,
        "cpuRequest": 8.0,
        "memoryLimit": 32.0,
        "memoryRequest": 32.0,
        "accelerator": {"type": "nvidia.com/gpu", "count": "2"},
    }
    assert tasks["pusher"].container["resources"]["cpuLimit"] == 2.0
    assert tasks["transform"].container["image"] == "registry/beam:1"
    assert {task.container["image"] for task in pipeline.tasks} == {
        "registry/train:1",
        "registry/beam:1",
    }
    assert tasks["pusher"].spec["retryPolicy"] == {"maxRetryCount": 2}
    assert tasks["pusher"].container["env"] == [
        {"name": "AWS_ENDPOINT_URL", "value": "http://minio:9000"}
    ]
    assert executors["trainer_executor"] == {
        "imagePullPolicy": "IfNotPresent",
        "secretAsEnv": [
            {
                "secretName": "s3",
                "keyToEnv": [{"envVar": "AWS_ACCESS_KEY_ID", "secretKey": "id"}],
            }
        ],
        "secretAsVolume": [{"secretName": "tls", "mountPath": "/tls"}],
        "pvcMount": [{"constant": "pushed-models", "mountPath": "/models"}],
        "nodeSelector": {"labels": {"gpu": "a"}},
    }
    with pytest.raises(ValueError, match="names nobody"):
        compiled("shop_demo", "kubeflow.steps={nobody: {gpus: 1}}")


def test_the_image_is_the_one_that_ships() -> None:
    assert KubeflowConfig().image == load_values().images.train


def test_caching_is_off_where_the_configuration_says_so() -> None:
    pipeline, _ = compiled("shop_demo", "enable_cache=false")
    assert not any(task.cached for task in pipeline.tasks)


def resolve(pipeline: CompiledPipeline, parameters: Mapping[str, str]) -> dict[str, str]:
    """Runs the first step as a pod would, and returns what it publishes."""

    class Value:
        value = ""

    (first,) = (task for task in pipeline.tasks if task.name == RUN_STATE)
    given = pipeline.arguments(parameters)
    properties = {
        key: one["runtimeValue"]["constant"]
        if "runtimeValue" in one
        else given[one["componentInputParameter"]]
        for key, one in first.inputs("parameters").items()
    }
    outputs = {key: [Value()] for key in first.outputs("artifacts")}
    Executor().Do({}, outputs, properties)
    return {key: value.value for key, (value,) in outputs.items()}


def test_the_run_finds_what_a_local_run_would_be_given(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [event("u", "a", 1)])
    pipeline, _ = compiled("shop_demo")
    places = {"log_dir": str(log), "push_dir": str(tmp_path / "pushed")}
    seed = {"retrieval_trainer_seed": "7", "timeline_test_days": "4"}
    found = resolve(pipeline, places | seed)
    local = load_config(
        "shop_demo",
        (
            *(f"{key}={value}" for key, value in places.items()),
            "retrieval.trainer.seed=7",
            "timeline.test_days=4",
        ),
    )
    made = {one.id: one for one in create_components(local, read_state(local))}
    wanted = deferred_of(pipeline)
    assert found == {one.name: made[one.component].exec_properties[one.key] for one in wanted}
    # And everything that did not wait is what the local run has.
    (first,) = (task for task in pipeline.tasks if task.name == RUN_STATE)
    said = json.loads(first.inputs("parameters")["compiled"]["runtimeValue"]["constant"])
    assert said == fingerprints(made.values(), wanted)


def test_the_state_of_a_run_follows_log_and_push_directory(tmp_path: Path) -> None:
    pipeline, _ = compiled("shop_demo")
    push_dir = tmp_path / "pushed"

    def state(log: Path) -> dict[str, str]:
        return resolve(pipeline, {"log_dir": str(log), "push_dir": str(push_dir)})

    log = write_log(tmp_path / "log", [event("u", "a", 1)])
    before = state(log)
    assert before == state(log)
    (push_dir / "retrieval" / "7").mkdir(parents=True)
    pushed = state(log)
    changed = {key for key in before if before[key] != pushed[key]}
    assert changed == {"latest_blessed__serving_state", "pusher__serving_state"}
    shutil.rmtree(log)
    write_log(log, [event("u", "a", 1), event("u", "b", 2)])
    grown = state(log)
    changed = {key for key in before if pushed[key] != grown[key]}
    assert changed == {
        "timeline_example_gen__input_fingerprint",
        "latest_blessed__release_candidate",
        "pusher__release_candidate",
    }


def test_a_run_says_what_is_wrong_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, _ = compiled("shop_demo")
    places = {"log_dir": str(tmp_path), "push_dir": str(tmp_path)}
    with pytest.raises(ValueError, match="`push_dir` is `runs/.*inside of a pod"):
        resolve(pipeline, places | {"push_dir": "runs/pushed"})
    with pytest.raises(ValueError, match="epochs"):
        resolve(pipeline, places | {"retrieval_trainer_epochs": "many"})
    monkeypatch.setattr("tfx_pipeline.stages.release.code_version", lambda *_: "another")
    log = write_log(tmp_path / "log", [event("u", "a", 1)])
    with pytest.raises(ValueError, match="other code.*: evaluator, serving-validator, pusher"):
        resolve(pipeline, places | {"log_dir": str(log)})


def test_workers_that_would_wait_for_a_step_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in its own pod"):
        compile_config("shop_demo", ("retrieval.trainer.workers=2",), tmp_path / "pipeline.yaml")


def test_a_file_that_is_no_yaml_is_refused_before_anything_is_compiled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\*\.yaml"):
        compile_config("shop_demo", (), tmp_path / "pipeline.json")


def test_the_file_names_its_command(tmp_path: Path) -> None:
    compile_config("shop_demo", (), tmp_path / "pipeline.yaml")
    text = (tmp_path / "pipeline.yaml").read_text(encoding="utf-8")
    assert text.startswith("# `vitrine compile shop_demo`\n")
    assert len(list(yaml.safe_load_all(text))) == 2
