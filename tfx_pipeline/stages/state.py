"""State of a run: what a pipeline depends on besides its configuration and its code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field

from models.courier.weights import weights_state
from models.families import Stage
from serving.publishing.origin import PushState
from serving.publishing.origin import read_push_state
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.image_features.encoder import encoder_state


@dataclass(frozen=True)
class RunState:
    """State of the log and of the push directories of a configuration, as plain data.

    TFX's cache sees neither the event log nor the push directories, so their state becomes
    a property of components.

    Attributes:
        log: Fingerprint of the event log.
        pushed: State of the push directories, by stage; one that is not named is empty.
        encoder: State of the encoder that `representation.encoder` names; "" where it names none.
        weights: Likewise of the weights that a new encoder's backbone starts from.
    """

    log: str
    pushed: Mapping[Stage, PushState] = field(default_factory=dict)
    encoder: str = ""
    weights: str = ""

    def push_state(self, stage: Stage) -> PushState:
        """Returns the state of the push directory of a stage."""
        return self.pushed.get(stage, PushState())


def read_state(config: PipelineConfig) -> RunState:
    """Reads the state of a run where its addresses can be read.

    Raises:
        FileNotFoundError: There is no event log.
        ValueError: The labels of a push directory cannot be read, or there is no encoder or there
            are no weights where one names them.
    """
    pushed = {stage: read_push_state(config.push_dir_of(stage)) for stage in config.stages}
    encoder = weights = ""
    if config.representation and config.makes_features:
        encoder = encoder_state(config.representation.encoder)
        if not encoder:
            weights = weights_state(config.representation.trainer.model.backbone.weights)
    log = EventLog(config.log_dir).fingerprint(config.timeline.days)
    return RunState(log, pushed, encoder, weights)
