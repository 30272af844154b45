"""The beginning of every trained stage: what is served now, and a model that may replace it."""

from __future__ import annotations

from typing import Any
from typing import NamedTuple

from tfx import v1 as tfx

from models.config import PretrainingTrainerConfig
from models.config import TrainerConfig
from models.families import Stage
from models.families import Trained
from models.families import find_family
from serving.publishing.origin import release_candidate_id
from tfx_pipeline.code_version import code_version
from tfx_pipeline.components.latest_blessed import LatestBlessed
from tfx_pipeline.components.tuner import Tuner
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.stages.config import StageConfig
from tfx_pipeline.stages.data import Data
from tfx_pipeline.stages.state import RunState
from tfx_pipeline.stages.table import STAGES
from tfx_pipeline.stages.table import TRAINING_SPLITS

_COMPONENTS = "tfx_pipeline.components"


class Pretraining(NamedTuple):
    """A model in training that another Trainer starts from.

    Attributes:
        trainer: Trains.
        settings: What it is told.
    """

    trainer: tfx.components.Trainer
    settings: dict[str, str]


class Training(NamedTuple):
    """A model in training, and what it will be compared with.

    Attributes:
        stage: The stage that the model is of.
        components: The look-up of the servable that is served, the search for better values if
            there is one, and the Trainer.
        latest_blessed: Looks up the servable that is served.
        trainer: Trains.
        release_candidate: What the servable will be made of, hashed.
        serving_state: State of the push directory, as the release candidate sees it.
    """

    stage: Stage
    components: tuple[Any, ...]
    latest_blessed: LatestBlessed
    trainer: tfx.components.Trainer
    release_candidate: str
    serving_state: str


def training(
    stage: Stage,
    section: StageConfig,
    config: PipelineConfig,
    state: RunState,
    made: Data,
    *builders: str,
    pretrained: Pretraining | None = None,
) -> Training:
    """Makes the look-up of the baseline and the Trainer.

    Args:
        stage: Which.
        section: The stage's section of the configuration.
        config: What to run.
        state: What is served decides what a release candidate is compared with: TFX's cache
            has to see it.
        made: The data stage.
        *builders: Configurations and code versions of what makes the servable of the model.
        pretrained: What training starts from; None where that is the served model, or nothing.
    """
    entry = STAGES[stage]
    settings = trainer_settings(stage, section.trainer)
    if pretrained:
        builders = (*builders, *pretrained.settings.values())
    if section.tuning.minutes:
        builders = (*builders, section.tuning.to_json())
    sources = (*made.features, made.example_gen, made.schema_gen, made.transform)
    release_candidate = release_candidate_id(sources, *settings.values(), *builders)
    serving_state = state.push_state(stage).seen_by(release_candidate)
    latest_blessed = LatestBlessed(
        examples=made.example_gen.outputs["examples"],
        stage=stage,
        push_dir=config.push_dir_of(stage),
        release_candidate=release_candidate,
        serving_state=serving_state,
        code_version=code_version(f"{_COMPONENTS}.latest_blessed"),
    ).with_id(entry.component_id("latest-blessed"))
    tuner: tuple[Any, ...] = ()
    if section.tuning.minutes:
        versions = (code_version(f"{_COMPONENTS}.tuner"), settings["code_version"])
        tuner = (
            Tuner(
                examples=made.transform.outputs["transformed_examples"],
                transform_graph=made.transform.outputs["transform_graph"],
                stage=stage,
                config=section.trainer,
                tuning=section.tuning,
                code_version=" ".join(versions),
            ).with_id(entry.component_id("tuner")),
        )
    base_model = None
    if pretrained:
        base_model = pretrained.trainer.outputs["model"]
    elif section.trainer.warm_start:
        base_model = latest_blessed.outputs["model"]
    trainer = make_trainer(
        entry.validation_split,
        settings,
        made,
        base_model=base_model,
        hyperparameters=tuner[0].outputs["best_hyperparameters"] if tuner else None,
    ).with_id(entry.component_id("trainer"))
    components = (latest_blessed, *tuner, trainer)
    return Training(stage, components, latest_blessed, trainer, release_candidate, serving_state)


def pretraining(stage: Stage, config: PretrainingTrainerConfig, made: Data) -> Pretraining:
    """Makes the Trainer of a model that a stage's Trainer starts from.

    Args:
        stage: Which. A change of its own Trainer's configuration does not reach this one.
        config: What is pretrained.
        made: The data stage.
    """
    settings = trainer_settings("pretraining", config)
    component = STAGES[stage].component_id("pretrainer")
    split = STAGES[stage].validation_split
    return Pretraining(make_trainer(split, settings, made).with_id(component), settings)


def trainer_settings(kind: Trained, config: TrainerConfig) -> dict[str, str]:
    """Returns what a Trainer's executor is told."""
    return {
        "stage": kind,
        "config": config.to_json(),
        "code_version": trainer_code_version(config.model.family),
    }


def make_trainer(
    validation_split: str, settings: dict[str, str], made: Data, **inputs: Any
) -> tfx.components.Trainer:
    """Makes a Trainer.

    Args:
        validation_split: The split that chooses the epoch to keep.
        settings: What it is told (`trainer_settings`).
        made: The data stage.
        **inputs: More channels that it reads.
    """
    return tfx.components.Trainer(
        run_fn="models.trainer.run_fn",
        examples=made.transform.outputs["transformed_examples"],
        transform_graph=made.transform.outputs["transform_graph"],
        schema=made.schema_gen.outputs["schema"],
        train_args=tfx.proto.TrainArgs(splits=TRAINING_SPLITS),
        eval_args=tfx.proto.EvalArgs(splits=[validation_split]),
        custom_config=settings,
        **inputs,
    )


def trainer_code_version(family: str) -> str:
    """Hashes what the Trainer runs for one family of models.

    The registry names every family: following it, a line in one model would retrain all.
    """
    chosen = find_family(family)
    model, _, _ = chosen.model.rpartition(".")
    modules = ("models.trainer", model, chosen.config.__module__)
    return code_version(*modules, "tfx", without=("models.families",))
