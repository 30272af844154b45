"""The representation stage: an encoder of images, and what it makes of them as declared fields.

It comes before the data stage, whose examples carry the fields. So it has a data stage of its own
where it trains: the same log divided in the same way, with images and without these fields.
"""

from __future__ import annotations

from typing import Any

from tfx_pipeline.code_version import code_version
from tfx_pipeline.components.image_feature_builder import ImageFeatureBuilder
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.image_features.config import RepresentationConfig
from tfx_pipeline.image_features.make import images_alone
from tfx_pipeline.image_features.tables_config import TablesConfig
from tfx_pipeline.stages.data import data
from tfx_pipeline.stages.state import RunState
from tfx_pipeline.stages.table import FEATURE_BUILDER
from tfx_pipeline.stages.table import REPRESENTATION
from tfx_pipeline.stages.table import TRAINING_SPLITS
from tfx_pipeline.stages.training import make_trainer
from tfx_pipeline.stages.training import trainer_settings
from transforms.features import PAGE_SPLITS


def representation(config: PipelineConfig, state: RunState) -> tuple[Any, ...]:
    """Makes the components of the stage.

    Args:
        config: What to run.
        state: Holds the fingerprint of the event log, and of an encoder or weights that are named.

    Returns:
        The components, of which the last gives `features`; none where a run makes no features.
    """
    section = config.representation
    if section is None or not config.makes_features:
        return ()
    trained = () if section.encoder else _trained(section, config, state)
    builder = ImageFeatureBuilder(
        log_dir=config.log_dir,
        input_fingerprint=state.log,
        model=trained[-1].outputs["model"] if trained else None,
        encoder=section.encoder,
        encoder_state=state.encoder if section.encoder else "",
        config=TablesConfig.of(section, config.candidate_types),
        code_version=code_version("tfx_pipeline.components.image_feature_builder"),
    ).with_id(FEATURE_BUILDER)
    return (*trained, builder)


def _trained(
    section: RepresentationConfig, config: PipelineConfig, state: RunState
) -> tuple[Any, ...]:
    """Makes what trains the encoder on the training part of the log; the Trainer is the last."""
    splits = (*TRAINING_SPLITS, PAGE_SPLITS[0])
    made = data(images_alone(config), state, splits, prefix=f"{REPRESENTATION}-")
    trainer = section.trainer.model_copy(update={"label": config.timeline.label})
    settings = trainer_settings(REPRESENTATION, trainer)
    if state.weights:  # which TFX's cache does not see
        settings["weights"] = state.weights
    return (
        *made.components,
        make_trainer(PAGE_SPLITS[0], settings, made).with_id(f"{REPRESENTATION}-trainer"),
    )
