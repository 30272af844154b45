"""Searches for better values of a Trainer, on the validation split.

The search of `vitrine tune` as a component, where TFX's own Tuner would be: that one wants
KerasTuner, which clashes with Keras 2 here. Its output is what TFX's Trainer reads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from absl import logging
from tfx import v1 as tfx
from tfx.dsl.components.base import base_executor
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec

from models.config import TRAINERS
from models.config import TrainerConfig
from models.families import Stage
from models.search_space import TuningConfig
from tfx_pipeline.components import locations
from tfx_pipeline.stages.table import STAGES
from tfx_pipeline.stages.table import TRAINING_SPLITS

FILE = "best_hyperparameters.txt"  # as TFX's Tuner calls it
_standard = tfx.types.standard_artifacts


class Executor(base_executor.BaseExecutor):
    """Runs the trials and writes the best one's values."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the values by dotted key of the Trainer's configuration, as JSON.

        Args:
            input_dict: `examples`, transformed, and `transform_graph`.
            output_dict: `best_hyperparameters`.
            exec_properties: `stage`, `config` (its Trainer's), `tuning` (a `TuningConfig`), both
                as JSON, and `code_version`, by which trials of other code do not count.

        Raises:
            FileNotFoundError: An input is missing.
            RuntimeError: No trial ended.
            ValueError: The validation split is empty.
        """
        import tensorflow_transform as tft

        from models.training.data import TrainingData
        from models.tuning import tune_on

        stage = exec_properties["stage"]
        splits = (*TRAINING_SPLITS, STAGES[stage].validation_split)
        files = (locations.record_files(input_dict, "examples", split) for split in splits)
        train, catalogue, validation = files
        graph = locations.directory(input_dict, "transform_graph")
        data = TrainingData(tft.TFTransformOutput(str(graph)), train, catalogue, validation)
        tuning = TuningConfig.model_validate_json(exec_properties["tuning"])
        target = locations.directory(output_dict, "best_hyperparameters")
        found = tune_on(
            data,
            TRAINERS[stage].model_validate_json(exec_properties["config"]),
            # Beside the directories of single executions, where a local run that is started again
            # finds the trials of a killed search. A pod of Kubeflow takes them with it.
            target.parent / f"{stage}.sqlite",
            f"{graph} {Path(train[0]).parent} {exec_properties['code_version']}",
            tuning.minutes,
            tuning.trials,
        )
        logging.info("%s", found)
        target.mkdir(parents=True, exist_ok=True)
        (target / FILE).write_text(json.dumps(found.values, sort_keys=True), encoding="utf-8")
        [artifact] = output_dict["best_hyperparameters"]
        artifact.set_string_custom_property("found", str(found))


class TunerSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the component."""

    INPUTS = {
        "examples": component_spec.ChannelParameter(type=_standard.Examples),
        "transform_graph": component_spec.ChannelParameter(type=_standard.TransformGraph),
    }
    OUTPUTS = {
        "best_hyperparameters": component_spec.ChannelParameter(type=_standard.HyperParameters)
    }
    PARAMETERS = {
        "stage": component_spec.ExecutionParameter(type=str),
        "config": component_spec.ExecutionParameter(type=str),
        "tuning": component_spec.ExecutionParameter(type=str),
        "code_version": component_spec.ExecutionParameter(type=str),
    }


class Tuner(tfx.types.BaseComponent):
    """Gives the best values that a search found as `best_hyperparameters`.

    Args:
        examples: Transformed timelines, with the splits that the stage's Trainer reads.
        transform_graph: What transformed them.
        stage: The stage whose Trainer is tuned.
        config: Its Trainer, the first trial.
        tuning: For how long.
        code_version: Hash of the sources that run here.
    """

    SPEC_CLASS = TunerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: tfx.types.BaseChannel,
        transform_graph: tfx.types.BaseChannel,
        stage: Stage,
        config: TrainerConfig,
        tuning: TuningConfig,
        code_version: str,
    ) -> None:
        found: Any = tfx.dsl.Channel(type=_standard.HyperParameters)
        super().__init__(
            spec=TunerSpec(
                examples=examples,
                transform_graph=transform_graph,
                best_hyperparameters=found,
                stage=stage,
                config=config.to_json(),
                tuning=tuning.to_json(),
                code_version=code_version,
            )
        )
