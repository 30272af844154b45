"""The ranking stage: a model that scores the candidates of a page, and is its own servable."""

from __future__ import annotations

from typing import Any

from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.stages.config import RankingConfig
from tfx_pipeline.stages.data import Data
from tfx_pipeline.stages.release import release
from tfx_pipeline.stages.state import RunState
from tfx_pipeline.stages.training import pretraining
from tfx_pipeline.stages.training import training


def ranking(
    section: RankingConfig, config: PipelineConfig, state: RunState, made: Data
) -> tuple[Any, ...]:
    """Makes the components of the ranking stage.

    Args:
        section: The stage's section of the configuration.
        config: What to run.
        state: What is served.
        made: The data stage, which writes page examples for `section.label`.
    """
    pretrained = pretraining("ranking", section.pretraining, made) if section.pretraining else None
    trained = training("ranking", section, config, state, made, pretrained=pretrained)
    released = release(trained, trained.trainer.outputs["model"], section, config, made)
    first = (pretrained.trainer,) if pretrained else ()
    return (*first, *trained.components, *released)
