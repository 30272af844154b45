"""Declares the serving validator."""

from __future__ import annotations

from typing import Any

from tfx import v1 as tfx
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec

from serving.publishing.config import PusherConfig
from tfx_pipeline.components.serving_validator.config import ServingValidationConfig
from tfx_pipeline.components.serving_validator.executor import Executor

_standard = tfx.types.standard_artifacts


class ServingValidatorSpec(component_spec.ComponentSpec):
    """What the serving validator reads and writes."""

    INPUTS = {
        "servable": component_spec.ChannelParameter(type=_standard.Model),
        "model": component_spec.ChannelParameter(type=_standard.Model),
        "examples": component_spec.ChannelParameter(type=_standard.Examples),
    }
    OUTPUTS = {"blessing": component_spec.ChannelParameter(type=_standard.ModelBlessing)}
    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "name": component_spec.ExecutionParameter(type=str),
        "push": component_spec.ExecutionParameter(type=str),
        "code_version": component_spec.ExecutionParameter(type=str),
    }


class ServingValidator(tfx.types.BaseComponent):
    """Serves the candidate as it would be pushed, and asks it what users would ask.

    The output `blessing` is a `ModelBlessing` as the Evaluator writes one: the
    file `BLESSED` or `NOT_BLESSED` and the custom property `blessed` (1 or 0).
    Beside it `report.json` lists each check with what was expected and
    received, and `server.log` is what the server wrote.

    A server that cannot be started or reached, or that gives no answer in time,
    is an error of the run and no verdict: the next run asks again. A verdict is
    kept by TFX's cache like every other, also one about a server at an address,
    whose state the cache does not see: after mending that server run with
    `enable_cache=false`.

    Args:
        servable: What `ServableBuilder` wrote, of type `Model`.
        model: The Trainer's towers, of type `Model`.
        examples: Raw timelines with the split `test`.
        config: What is asked, and of which server.
        name: What the model is called, as in its push.
        push: How it would be pushed: its warm-up requests, and the files that
            its server is started with.
        code_version: Hash of the sources that run here.
    """

    SPEC_CLASS = ServingValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        servable: tfx.types.BaseChannel,
        model: tfx.types.BaseChannel,
        examples: tfx.types.BaseChannel,
        config: ServingValidationConfig,
        name: str,
        push: PusherConfig,
        code_version: str,
    ) -> None:
        blessing: Any = tfx.dsl.Channel(type=_standard.ModelBlessing)
        super().__init__(
            spec=ServingValidatorSpec(
                servable=servable,
                model=model,
                examples=examples,
                blessing=blessing,
                config=config.to_json(),
                name=name,
                push=push.seen_by_servers().to_json(),
                code_version=code_version,
            )
        )
