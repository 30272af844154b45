"""Compiles a configuration for open-source Kubeflow Pipelines v2 (pipeline spec 2.1).

Nothing is read but the configuration and the code: neither the event log nor a push
directory has to be there. `run_state` finds out in the run what is in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx import v1 as tfx
from tfx.orchestration.data_types import RuntimeParameter

from serving.publishing.origin import PushState
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.config_file import given_values
from tfx_pipeline.config_file import typed
from tfx_pipeline.pipeline import create_components
from tfx_pipeline.runners.kubeflow.parameters import Parameter
from tfx_pipeline.runners.kubeflow.parameters import parameters_of
from tfx_pipeline.runners.kubeflow.parameters import with_parameters
from tfx_pipeline.runners.kubeflow.platform import platform_document
from tfx_pipeline.runners.kubeflow.run_state import RUN_STATE
from tfx_pipeline.runners.kubeflow.run_state import RunStateReader
from tfx_pipeline.runners.kubeflow.run_state import deferred
from tfx_pipeline.runners.kubeflow.run_state import fingerprints
from tfx_pipeline.runners.local import with_workers_here
from tfx_pipeline.stages.state import RunState

ENTRY_POINT = ("python", "-m", "tfx_pipeline.runners.kubeflow.entrypoint")
_ResourceSpec = pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec


def compile_config(name_or_path: str, overrides: tuple[str, ...], output: Path) -> PipelineConfig:
    """Compiles a configuration into a file.

    Args:
        name_or_path: A YAML file or the name of a shipped configuration.
        overrides: `key=value` pairs.
        output: The file, `*.yaml`.

    Returns:
        The configuration.

    Raises:
        ValueError: The configuration is not valid, or cannot be compiled.
    """
    if output.suffix not in (".yaml", ".yml"):
        raise ValueError(f"Kubeflow Pipelines takes `*.yaml` alone; received `{output}`.")
    values = given_values(name_or_path, overrides)
    config = typed(PipelineConfig, values, name_or_path)
    if config.shared_trainings:
        raise ValueError(
            f"`{config.shared_trainings[0]}.workers` would not find what a step of Kubeflow "
            "Pipelines writes: it is in its own pod until it ends. Leave it at 1, or use "
            "`vitrine run`."
        )
    documents = compile_pipeline(values, name_or_path)
    output.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump_all(documents, sort_keys=True, allow_unicode=True, width=100)
    output.write_text(f"# `vitrine compile {name_or_path}`\n{text}", encoding="utf-8")
    return config


def compile_pipeline(values: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """Returns the documents of the compiled file: the pipeline, and what Kubernetes adds to it.

    Args:
        values: What the file of the configuration gives.
        where: What to call it in errors.
    """
    config = with_parameters(values, {}, where)
    parameters = parameters_of(config)
    components = create_components(config, RunState(log="compiled", encoder="compiled"))
    publish = deferred(components, _for_another_run(values, config, parameters))
    reader = RunStateReader(
        values,
        {one.key: RuntimeParameter(one.name, default=one.default, ptype=str) for one in parameters},
        publish,
        fingerprints(components, publish),
    )
    by_id = {component.id: component for component in (reader, *components)}
    for one in publish:
        by_id[one.component].exec_properties[one.key] = reader.placeholder(one)
    _ask_for_resources(config, by_id)
    pipeline = tfx.dsl.Pipeline(
        pipeline_name=re.sub(r"[^a-z0-9]+", "-", config.name.lower()).strip("-"),
        components=list(by_id.values()),
        enable_cache=config.enable_cache,
        beam_pipeline_args=list(with_workers_here(config).beam_pipeline_args),
    )
    spec = _run_compiler(config, pipeline, list(by_id))
    _mend(spec, config, parameters)
    return [spec, platform_document(config.kubeflow, list(by_id))]


def _for_another_run(
    values: Mapping[str, Any], config: PipelineConfig, parameters: tuple[Parameter, ...]
) -> list[Any]:
    """Returns the components for a run with other parameters, over another log."""
    other = with_parameters(
        values, {one.key: one.another for one in parameters}, "A parameter of a run"
    )
    pushed = {stage: PushState("another", "another", "another") for stage in config.stages}
    return create_components(other, RunState("another", pushed, "another"))


def _ask_for_resources(config: PipelineConfig, components: Mapping[str, Any]) -> None:
    if unknown := set(config.kubeflow.steps) - set(components):
        raise ValueError(
            f"`kubeflow.steps` names {', '.join(sorted(unknown))}; the steps are "
            f"{', '.join(components)}."
        )
    for name, component in components.items():
        step = config.kubeflow.step(name)
        resources = _ResourceSpec(
            cpu_limit=step.cpus,
            cpu_request=step.cpus,
            memory_limit=step.memory_gb,
            memory_request=step.memory_gb,
        )
        if step.gpus:
            resources.accelerator.type = config.kubeflow.gpu
            resources.accelerator.count = step.gpus
        component.with_platform_config(resources)


def _run_compiler(
    config: PipelineConfig, pipeline: tfx.dsl.Pipeline, steps: list[str]
) -> dict[str, Any]:
    """Runs TFX's own compiler."""
    one = config.kubeflow.image
    images = {name: config.kubeflow.step(name).image for name in steps}
    others = {name: image for name, image in images.items() if image != one}
    runner = tfx.orchestration.experimental.KubeflowV2DagRunner(
        config=tfx.orchestration.experimental.KubeflowV2DagRunnerConfig(
            default_image={"default_image_path": one, **others} if others else one,
            default_commands=list(ENTRY_POINT),
            use_pipeline_spec_2_1=True,
        )
    )
    spec: dict[str, Any] = runner.run(pipeline, write_out=False)["pipelineSpec"]
    return spec


def _mend(spec: dict[str, Any], config: PipelineConfig, parameters: tuple[Parameter, ...]) -> None:
    """Changes what TFX writes and open-source Kubeflow Pipelines does not take."""
    tasks = spec["root"]["dag"]["tasks"]
    for task in tasks.values():
        for given in task.get("inputs", {}).get("parameters", {}).values():
            # TFX calls the producer of a parameter `<id>_task`, which no task is called.
            if "taskOutputParameter" in given:
                output = given["taskOutputParameter"]
                output["producerTask"] = output["producerTask"].removesuffix("_task")
        if config.kubeflow.retries:
            task["retryPolicy"] = {"maxRetryCount": config.kubeflow.retries}
    tasks[RUN_STATE]["cachingOptions"] = {}
    inputs = spec["root"].setdefault("inputDefinitions", {}).setdefault("parameters", {})
    for one in parameters:
        if one.default is not None:  # TFX leaves defaults out
            inputs[one.name]["defaultValue"] = one.default
    env = [{"name": name, "value": value} for name, value in config.kubeflow.env.items()]
    for executor in spec["deploymentSpec"]["executors"].values():
        if env:
            executor["container"]["env"] = env
