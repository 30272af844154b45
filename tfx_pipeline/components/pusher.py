"""Pushes a servable: one blessed, whole, versioned directory for TF Serving."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from absl import logging
from tfx import v1 as tfx
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec

from serving.publishing.announce import announce_again
from serving.publishing.config import PusherConfig
from serving.publishing.labels import read_labels
from serving.publishing.links import link_or_copy
from serving.publishing.origin import EVALUATION
from serving.publishing.origin import NOT_PUSHED
from serving.publishing.origin import content_id
from serving.publishing.origin import pushed_already
from serving.publishing.origin import write_origin
from serving.publishing.push import push
from serving.publishing.servable_file import read_servable
from serving.publishing.warmup import write_warmup
from tfx_pipeline.components import locations
from tfx_pipeline.components.request_examples import request_examples
from tfx_pipeline.components.verdict import read_reasons
from tfx_pipeline.evaluation.report import read_failures
from tfx_pipeline.stages.table import STAGES
from transforms.storage import is_store
from transforms.storage import place
from transforms.stored_folders import download

RUN_CONFIG = "config.json"
_standard = tfx.types.standard_artifacts


class Executor(base_executor.BaseExecutor):
    """Pushes a servable when the model, its answers and, if it has them, index and lists are."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes a version, or says why not.

        What is served already is not pushed again: only the files that servers are
        started with are written.

        Args:
            input_dict: `servable`, `model_blessing`, `evaluation`, `examples` (the test
                split of the servable's stage) and, where there are such components,
                `index_blessing`, `neighbours_blessing` and `serving_blessing`.
            output_dict: `pushed_model`.
            exec_properties: `config` and `run_config` as JSON, `name`, `push_dir`,
                `release_candidate`, `serving_state`, `code_version`.

        Raises:
            FileNotFoundError: The servable is not complete.
            OSError: The disk is full; the served version stays whole.
            RuntimeError: Another push is running.
            ValueError: A model configuration file cannot be read.
        """
        config = PusherConfig.model_validate_json(exec_properties["config"])
        (pushed,) = output_dict["pushed_model"]
        reasons = objections(input_dict)
        if reasons:
            _refuse(pushed, *reasons)
            return
        push_dir = place(exec_properties["push_dir"])
        labels = read_labels(push_dir)  # fails before anything is copied
        run_config = json.loads(exec_properties["run_config"])
        release_candidate = exec_properties["release_candidate"]
        servable = locations.saved_model(input_dict, "servable")
        content = content_id(servable, config)

        def complete(version_dir: Path) -> None:
            evaluation = locations.directory(input_dict, "evaluation")
            shutil.copytree(evaluation, version_dir / EVALUATION)
            text = json.dumps(run_config, indent=1, sort_keys=True)
            (version_dir / RUN_CONFIG).write_text(text + "\n", encoding="utf-8")
            write_origin(version_dir, release_candidate, exec_properties["serving_state"], content)
            split = STAGES[read_servable(servable).stage].test_split
            files = locations.record_files(input_dict, "examples", split)
            examples = request_examples(files, config.warmup_requests)
            write_warmup(version_dir, examples, config.batching.max_batch_size)

        version = pushed_already(push_dir, release_candidate, content)
        if labels is not None and version in labels.withdrawn:
            _refuse(
                pushed,
                f"version {version} is this servable, and was rolled back; `vitrine push promote "
                f"--version {version}` brings it back",
            )
            return
        if version is None:
            version = push(push_dir, servable, complete, exec_properties["name"], config)
        else:
            announce_again(push_dir, config)
            logging.info("Version %d is this servable; it is not pushed again.", version)
        source = push_dir / str(version)
        # The artifact keeps what was pushed, as TFX does.
        if is_store(source):
            download(source, Path(pushed.uri))
        else:
            shutil.copytree(source, pushed.uri, copy_function=link_or_copy, dirs_exist_ok=True)
        pushed.set_int_custom_property("pushed", 1)
        pushed.set_string_custom_property("pushed_destination", str(source))
        pushed.set_string_custom_property("pushed_version", str(version))


def _refuse(pushed: Any, *reasons: str) -> None:
    for reason in reasons:
        logging.error("Not pushed: %s.", reason)
    text = "; ".join(reasons)
    pushed.set_int_custom_property("pushed", 0)
    pushed.set_string_custom_property("not_pushed_because", text)
    Path(pushed.uri).mkdir(parents=True, exist_ok=True)
    (Path(pushed.uri) / NOT_PUSHED).write_text(f"{text}\n", encoding="utf-8")


def objections(input_dict: dict[str, list[Any]]) -> list[str]:
    """Says what keeps a servable from being pushed; nothing when all is blessed."""
    reasons = []
    verdicts = {
        "the index is not blessed": input_dict.get("index_blessing", []),
        "the neighbour lists are not blessed": input_dict.get("neighbours_blessing", []),
        "what a server answers is not blessed": input_dict.get("serving_blessing", []),
    }
    for refusal, blessings in verdicts.items():
        for blessing in blessings:
            if not model_utils.is_model_blessed(blessing):
                reasons.append(f"{refusal} ({'; '.join(read_reasons(Path(blessing.uri)))})")
    (model_blessing,) = input_dict["model_blessing"]
    if not model_utils.is_model_blessed(model_blessing):
        failures = read_failures(locations.directory(input_dict, "evaluation"))
        reasons.append(f"the model is not blessed ({'; '.join(failures)})")
    return reasons


class PusherSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the pusher."""

    INPUTS = {
        "servable": component_spec.ChannelParameter(type=_standard.Model),
        "index_blessing": component_spec.ChannelParameter(
            type=_standard.ModelBlessing, optional=True
        ),
        "neighbours_blessing": component_spec.ChannelParameter(
            type=_standard.ModelBlessing, optional=True
        ),
        "serving_blessing": component_spec.ChannelParameter(
            type=_standard.ModelBlessing, optional=True
        ),
        "model_blessing": component_spec.ChannelParameter(type=_standard.ModelBlessing),
        "evaluation": component_spec.ChannelParameter(type=_standard.ModelEvaluation),
        "examples": component_spec.ChannelParameter(type=_standard.Examples),
    }
    OUTPUTS = {"pushed_model": component_spec.ChannelParameter(type=_standard.PushedModel)}
    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "name": component_spec.ExecutionParameter(type=str),
        "push_dir": component_spec.ExecutionParameter(type=str),
        "release_candidate": component_spec.ExecutionParameter(type=str),
        "serving_state": component_spec.ExecutionParameter(type=str),
        "run_config": component_spec.ExecutionParameter(type=str),
        "code_version": component_spec.ExecutionParameter(type=str),
    }


class Pusher(tfx.types.BaseComponent):
    """Pushes a servable as the newest version if all that judged it have blessed it.

    TF Serving, which watches the push directory, never sees half a version:
    it is written under another name and renamed. It gets the label `canary`;
    labels, batching and monitoring are written below `serving/` of the push
    directory, as TF Serving reads them. The output `pushed_model`
    has the custom properties of TFX's own pusher: `pushed`,
    `pushed_destination`, `pushed_version`; besides, `not_pushed_because`.

    Args:
        servable: A directory with `servable.json`, of type `Model`.
        model_blessing: The evaluator's verdict.
        evaluation: What the evaluator measured; it is pushed along.
        examples: Raw examples; some of the stage's test split become warm-up requests.
        config: How versions are pushed.
        name: What requests call the model.
        push_dir: Directory of the versions.
        release_candidate: What the servable is made of: `origin.release_candidate_id`.
        serving_state: State of the push directory, as the release candidate sees it.
        code_version: Hash of the sources that run here.
        run_config: The resolved configuration of the run as JSON; it is pushed along.
        index_blessing: The index validator's verdict, where there is an index.
        neighbours_blessing: The neighbour validator's, where the servable holds lists.
        serving_blessing: The serving validator's verdict, where it is in the pipeline.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        servable: tfx.types.BaseChannel,
        model_blessing: tfx.types.BaseChannel,
        evaluation: tfx.types.BaseChannel,
        examples: tfx.types.BaseChannel,
        config: PusherConfig,
        name: str,
        push_dir: str,
        release_candidate: str,
        serving_state: str,
        code_version: str,
        run_config: str = "{}",
        index_blessing: tfx.types.BaseChannel | None = None,
        neighbours_blessing: tfx.types.BaseChannel | None = None,
        serving_blessing: tfx.types.BaseChannel | None = None,
    ) -> None:
        pushed_model: Any = tfx.dsl.Channel(type=_standard.PushedModel)
        super().__init__(
            spec=PusherSpec(
                servable=servable,
                index_blessing=index_blessing,
                neighbours_blessing=neighbours_blessing,
                model_blessing=model_blessing,
                serving_blessing=serving_blessing,
                evaluation=evaluation,
                examples=examples,
                pushed_model=pushed_model,
                config=config.to_json(),
                name=name,
                push_dir=push_dir,
                release_candidate=release_candidate,
                serving_state=serving_state,
                run_config=run_config,
                code_version=code_version,
            )
        )
