"""Looks up the last blessed servable, the baseline of an evaluation.

TFX's own answer is a Resolver node, which open-source Kubeflow Pipelines
rejects. Here it is a component like any other. Only blessed servables are
pushed, so the newest version in the push directory is the last blessed one.
On the first run there is none: the output is then a `Model` artifact that
holds no SavedModel, and `tfx_pipeline.evaluation.evaluator` takes that for
"no baseline".

A version that was made of the very same candidate is passed over: nothing is
compared with itself, and running an unchanged pipeline again finds the baseline
it had before, in TFX's cache (see `pusher/origin.py`).
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

from tfx_pipeline.components import locations
from tfx_pipeline.components.pusher.origin import baseline_version

NO_BASELINE = "NO_BLESSED_MODEL"  # object stores drop empty directories
_NOT_EVALUATED = ("index", "evaluation", "config.json", "origin.json", "assets.extra")
_Model = tfx.types.standard_artifacts.Model


class Executor(base_executor.BaseExecutor):
    """Copies the newest version of another candidate, if there is one."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the model or the note that there is none.

        Args:
            input_dict: Nothing.
            output_dict: `model`, laid out as the Trainer's.
            exec_properties: `push_dir`, `candidate`, `serving_state` and `code_version`.

        Raises:
            ValueError: `push_dir` is no mounted directory.
        """
        (model,) = output_dict["model"]
        version = baseline_version(exec_properties["push_dir"], exec_properties["candidate"])
        if not version:
            folder = Path(model.uri)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / NO_BASELINE).write_text(f"{exec_properties['push_dir']} has no baseline.\n")
            model.set_int_custom_property("version", 0)
            logging.info("No other version was pushed yet, so there is no model to compare with.")
            return
        source = Path(exec_properties["push_dir"]) / str(version)
        shutil.copytree(
            source,
            locations.saved_model(output_dict, "model"),
            ignore=lambda where, names: _NOT_EVALUATED if Path(where) == source else (),
        )
        model.set_int_custom_property("version", version)
        logging.info("The last blessed model is version %d.", version)


class LatestBlessedSpec(component_spec.ComponentSpec):
    """What the component reads and writes."""

    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS = {"model": component_spec.ChannelParameter(type=_Model)}
    PARAMETERS = {
        "push_dir": component_spec.ExecutionParameter(type=str),
        "candidate": component_spec.ExecutionParameter(type=str),
        "serving_state": component_spec.ExecutionParameter(type=str),
        "code_version": component_spec.ExecutionParameter(type=str),
    }


class LatestBlessed(tfx.types.BaseComponent):
    """Gives the last blessed servable as `model`; without a SavedModel on the first run.

    Args:
        push_dir: Where `Pusher` writes versions.
        candidate: What the candidate is made of: `pusher.origin.candidate_id`.
        serving_state: State of the push directory: `pusher.origin.serving_state`.
        code_version: Hash of the sources that run here.
    """

    SPEC_CLASS = LatestBlessedSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        push_dir: str,
        candidate: str,
        serving_state: str,
        code_version: str,
    ) -> None:
        model: Any = tfx.dsl.Channel(type=_Model)
        super().__init__(
            spec=LatestBlessedSpec(
                model=model,
                push_dir=push_dir,
                candidate=candidate,
                serving_state=serving_state,
                code_version=code_version,
            )
        )
