"""Looks up the last blessed servable, the baseline of an evaluation.

TFX's own answer is a Resolver node, which open-source Kubeflow Pipelines
rejects. Here it is a component like any other. Only blessed servables are
pushed, so the newest version in the push directory is the last blessed one.
On the first run there is none: the output is then a `Model` artifact that
holds no SavedModel, and `tfx_pipeline.evaluation.evaluator` takes that for
"no baseline".

The component reads the candidate's channel without looking into it: a new
candidate makes it look again, and an unchanged one is answered from TFX's
cache with everything behind it.
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
from tfx_pipeline.components.pusher.versions import pushed_versions

NO_BASELINE = "NO_BLESSED_MODEL"  # object stores drop empty directories
_NOT_EVALUATED = ("index", "evaluation", "config.json", "assets.extra")
_Model = tfx.types.standard_artifacts.Model


class Executor(base_executor.BaseExecutor):
    """Copies the newest pushed version, if there is one."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the model or the note that there is none.

        Args:
            input_dict: `servable`, the candidate.
            output_dict: `model`, laid out as the Trainer's.
            exec_properties: `push_dir` and `code_version`.

        Raises:
            ValueError: `push_dir` is no mounted directory.
        """
        (model,) = output_dict["model"]
        versions = pushed_versions(exec_properties["push_dir"])
        if not versions:
            folder = Path(model.uri)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / NO_BASELINE).write_text(f"{exec_properties['push_dir']} has no version.\n")
            model.set_int_custom_property("version", 0)
            logging.info("No version was pushed yet, so there is no model to compare with.")
            return
        source = Path(exec_properties["push_dir"]) / str(versions[-1])
        shutil.copytree(
            source,
            locations.saved_model(output_dict, "model"),
            ignore=lambda where, names: _NOT_EVALUATED if Path(where) == source else (),
        )
        model.set_int_custom_property("version", versions[-1])
        logging.info("The last blessed model is version %d.", versions[-1])


class LatestBlessedSpec(component_spec.ComponentSpec):
    """What the component reads and writes."""

    INPUTS = {"servable": component_spec.ChannelParameter(type=_Model)}
    OUTPUTS = {"model": component_spec.ChannelParameter(type=_Model)}
    PARAMETERS = {
        "push_dir": component_spec.ExecutionParameter(type=str),
        "code_version": component_spec.ExecutionParameter(type=str),
    }


class LatestBlessed(tfx.types.BaseComponent):
    """Gives the last blessed servable as `model`; without a SavedModel on the first run.

    Args:
        servable: The candidate, of type `Model`; it orders the components.
        push_dir: Where `Pusher` writes versions.
        code_version: Hash of the sources that run here.
    """

    SPEC_CLASS = LatestBlessedSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, servable: tfx.types.BaseChannel, push_dir: str, code_version: str) -> None:
        model: Any = tfx.dsl.Channel(type=_Model)
        super().__init__(
            spec=LatestBlessedSpec(
                servable=servable, model=model, push_dir=push_dir, code_version=code_version
            )
        )
