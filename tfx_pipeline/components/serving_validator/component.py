"""The serving validator as a TFX component."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import logging
from tfx import v1 as tfx
from tfx.dsl.components.base import base_executor
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec

from serving.publishing.config import PusherConfig
from serving.publishing.servable_file import read_servable
from tfx_pipeline.components import locations
from tfx_pipeline.components.serving_validator.config import ServingValidationConfig
from tfx_pipeline.components.serving_validator.validate import ASKED
from tfx_pipeline.components.serving_validator.validate import ExampleFiles
from tfx_pipeline.components.serving_validator.validate import validate
from tfx_pipeline.components.verdict import write_verdict
from tfx_pipeline.stages.table import STAGES

SERVER_LOG = "server.log"
_standard = tfx.types.standard_artifacts


class Executor(base_executor.BaseExecutor):
    """Asks the release candidate through a server and writes the blessing."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the blessing, its report and the server's log.

        Args:
            input_dict: `servable`, `model` (what the Trainer wrote) and `examples` (the
                test split of the servable's stage; for ranking also `catalogue`).
            output_dict: `blessing`.
            exec_properties: `config`, the stage's section as JSON, `name`,
                `push`, a `PusherConfig` as JSON, and `code_version`.

        Raises:
            FileNotFoundError: The model or a split's files are missing.
            RuntimeError: The server could not be started, ended by itself, or gave
                no answer in time.
            ServingError: The server cannot be reached, or has no such model.
        """
        [blessing] = output_dict["blessing"]
        folder = Path(blessing.uri)
        folder.mkdir(parents=True, exist_ok=True)
        servable_dir = locations.saved_model(input_dict, "servable")
        stage = read_servable(servable_dir).stage
        asked = ASKED[stage]
        splits = (STAGES[stage].test_split, *(["catalogue"] if asked.reads_catalogue else []))
        report = validate(
            servable_dir,
            locations.saved_model(input_dict, "model"),
            ExampleFiles(*(locations.record_files(input_dict, "examples", one) for one in splits)),
            asked.config.model_validate_json(exec_properties["config"]),
            exec_properties["name"],
            PusherConfig.model_validate_json(exec_properties["push"]),
            folder / SERVER_LOG,
        )
        [servable] = input_dict["servable"]
        write_verdict(blessing, report, "model", servable)
        logging.info("Latency of the servable over gRPC is %s ms.", report["latency_ms"])


class ServingValidatorSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the serving validator."""

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
    """Serves the release candidate as it would be pushed, and asks it what users would ask.

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
        servable: A directory with `servable.json`, of type `Model`.
        model: What the Trainer wrote, of type `Model`; a ranker is its own servable.
        examples: Raw examples with the test split of the stage, for ranking also `catalogue`.
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
