"""Declares the pusher."""

from __future__ import annotations

from typing import Any

from tfx import v1 as tfx
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec

from serving.publishing.config import PusherConfig
from tfx_pipeline.components.pusher.executor import Executor

_standard = tfx.types.standard_artifacts


class PusherSpec(component_spec.ComponentSpec):
    """What the pusher reads and writes."""

    INPUTS = {
        "servable": component_spec.ChannelParameter(type=_standard.Model),
        "index_blessing": component_spec.ChannelParameter(type=_standard.ModelBlessing),
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
        "push_dir": component_spec.ExecutionParameter(type=str),
        "candidate": component_spec.ExecutionParameter(type=str),
        "serving_state": component_spec.ExecutionParameter(type=str),
        "run_config": component_spec.ExecutionParameter(type=str),
        "code_version": component_spec.ExecutionParameter(type=str),
    }


class Pusher(tfx.types.BaseComponent):
    """Pushes a servable as the newest version if model, index and serving are blessed.

    TF Serving, which watches the push directory, never sees half a version:
    it is written under another name and renamed. It gets the label `canary`;
    labels, batching and monitoring are written below `serving/` of the push
    directory, as TF Serving reads them. The output `pushed_model`
    has the custom properties of TFX's own pusher: `pushed`,
    `pushed_destination`, `pushed_version`; besides, `not_pushed_because`.

    Args:
        servable: What `ServableBuilder` wrote, of type `Model`.
        index_blessing: The index validator's verdict.
        model_blessing: The evaluator's verdict.
        evaluation: What the evaluator measured; it is pushed along.
        examples: Raw timelines; some of the split `test` become warm-up requests.
        config: How versions are pushed.
        push_dir: Directory of the versions.
        candidate: What the servable is made of: `origin.candidate_id`.
        serving_state: State of the push directory: `origin.serving_state`.
        code_version: Hash of the sources that run here.
        run_config: The resolved configuration of the run as JSON; it is pushed along.
        serving_blessing: The serving validator's verdict, where it is in the pipeline.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        servable: tfx.types.BaseChannel,
        index_blessing: tfx.types.BaseChannel,
        model_blessing: tfx.types.BaseChannel,
        evaluation: tfx.types.BaseChannel,
        examples: tfx.types.BaseChannel,
        config: PusherConfig,
        push_dir: str,
        candidate: str,
        serving_state: str,
        code_version: str,
        run_config: str = "{}",
        serving_blessing: tfx.types.BaseChannel | None = None,
    ) -> None:
        pushed_model: Any = tfx.dsl.Channel(type=_standard.PushedModel)
        super().__init__(
            spec=PusherSpec(
                servable=servable,
                index_blessing=index_blessing,
                model_blessing=model_blessing,
                serving_blessing=serving_blessing,
                evaluation=evaluation,
                examples=examples,
                pushed_model=pushed_model,
                config=config.to_json(),
                push_dir=push_dir,
                candidate=candidate,
                serving_state=serving_state,
                run_config=run_config,
                code_version=code_version,
            )
        )
