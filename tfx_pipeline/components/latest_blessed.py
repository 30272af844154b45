"""Looks up the baseline of an evaluation: the servable that answers users now.

TFX's own answer is a Resolver node, which open-source Kubeflow Pipelines
rejects. Here it is a component like any other. Only blessed servables are
pushed, and the labels of the push directory say which of them is served; one
that was rolled back never is the baseline (`serving/publishing/labels.py`). On the first
run there is none: the output is then a `Model` artifact that holds no
SavedModel but a note with the reason, and `tfx_pipeline.evaluation.evaluator`
takes that for "no baseline".

A version that is the very same release candidate is passed over: nothing is
compared with itself, and running an unchanged pipeline again finds the baseline
it had before, in TFX's cache (see `serving/publishing/origin.py`). A version that has seen
events of what is the test now, as when `test_days` was raised, is none either:
it would look better than it is, and so would a model that starts from it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from absl import logging
from tfx import v1 as tfx
from tfx.dsl.components.base import base_executor
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec

from serving.publishing.origin import EVALUATION
from serving.publishing.origin import NO_BASELINE
from serving.publishing.origin import baseline_version
from serving.publishing.servable_file import SERVABLE
from serving.publishing.servable_file import read_servable
from tfx_pipeline.components import locations
from tfx_pipeline.evaluation.held_out import generated_split
from tfx_pipeline.evaluation.held_out import read_held_out
from tfx_pipeline.evaluation.held_out import seen_before
from transforms.storage import is_store
from transforms.storage import place
from transforms.stored_folders import download

# Of a version: what is evaluated, and what training starts from.
_EVALUATED = ("saved_model.pb", "fingerprint.pb", "variables", "assets", SERVABLE)
_standard = tfx.types.standard_artifacts


class Executor(base_executor.BaseExecutor):
    """Copies the version that a release candidate is compared with, if there is one."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the model, or a note that says why there is none.

        Args:
            input_dict: `examples`, which say what is held out now.
            output_dict: `model`, laid out as the Trainer's.
            exec_properties: `stage`, `push_dir`, `release_candidate`, `serving_state`
                and `code_version`.

        Raises:
            ValueError: The labels of `push_dir` cannot be read, or
                it holds servables of another stage.
        """
        (model,) = output_dict["model"]
        push_dir = exec_properties["push_dir"]
        version = baseline_version(push_dir, exec_properties["release_candidate"])
        source = place(push_dir) / str(version)
        reason = f"{push_dir} has no other version that is served"
        if version:
            _require_stage(source, exec_properties["stage"])
            now = generated_split(locations.directory(input_dict, "examples"))
            leak = seen_before(read_held_out(source / EVALUATION), now)
            reason = f"version {version} cannot be compared with: {leak}" if leak else ""
        if reason:
            folder = Path(model.uri)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / NO_BASELINE).write_text(reason + "\n", encoding="utf-8")
            model.set_int_custom_property("version", 0)
            logging.warning("There is no baseline: %s.", reason)
            return
        _copy_evaluated(source, locations.saved_model(output_dict, "model"))
        model.set_int_custom_property("version", version)
        logging.info("The baseline is version %d.", version)


def _copy_evaluated(version: Path, target: Path) -> None:
    """Copies of a version what is evaluated."""
    if is_store(version):
        download(version, target, lambda name: name.partition("/")[0] in _EVALUATED)
        return
    shutil.copytree(
        version,
        target,
        ignore=lambda where, names: set(names) - {*_EVALUATED} if Path(where) == version else set(),
    )


def _require_stage(version: Path, stage: str) -> None:
    found = read_servable(version).stage
    if found != stage:
        raise ValueError(
            f"{version} is a servable of the stage {found}; expected one of the stage {stage}. "
            "Each stage has a directory of its own below `push_dir`."
        )


class LatestBlessedSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the component."""

    INPUTS = {"examples": component_spec.ChannelParameter(type=_standard.Examples)}
    OUTPUTS = {"model": component_spec.ChannelParameter(type=_standard.Model)}
    PARAMETERS = {
        "stage": component_spec.ExecutionParameter(type=str),
        "push_dir": component_spec.ExecutionParameter(type=str),
        "release_candidate": component_spec.ExecutionParameter(type=str),
        "serving_state": component_spec.ExecutionParameter(type=str),
        "code_version": component_spec.ExecutionParameter(type=str),
    }


class LatestBlessed(tfx.types.BaseComponent):
    """Gives the servable that is served as `model`; without a SavedModel on the first run.

    Args:
        examples: Raw timelines, whose report says what is held out.
        stage: The stage whose servables they are.
        push_dir: Where the stage's `Pusher` writes versions.
        release_candidate: What the release candidate is made of:
            `serving.publishing.origin.release_candidate_id`.
        serving_state: State of the push directory, as the release candidate sees it:
            `serving.publishing.origin.PushState`.
        code_version: Hash of the sources that run here.
    """

    SPEC_CLASS = LatestBlessedSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: tfx.types.BaseChannel,
        stage: str,
        push_dir: str,
        release_candidate: str,
        serving_state: str,
        code_version: str,
    ) -> None:
        model: Any = tfx.dsl.Channel(type=_standard.Model)
        super().__init__(
            spec=LatestBlessedSpec(
                examples=examples,
                model=model,
                stage=stage,
                push_dir=push_dir,
                release_candidate=release_candidate,
                serving_state=serving_state,
                code_version=code_version,
            )
        )
