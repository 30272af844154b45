"""Configuration of the sequence ranker."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from models.ranking.config import CrossedRankingModelConfig
from models.sequence.encoder_config import EncoderConfig


class SequenceRankerConfig(CrossedRankingModelConfig):
    """A transformer over the history gives the user's vector.

    Attributes:
      encoder: The encoder, as the sequence model's.
    """

    family: Literal["sequence_ranker"] = "sequence_ranker"
    encoder: EncoderConfig = EncoderConfig(blocks=1)

    @model_validator(mode="after")
    def _compares_nothing(self) -> SequenceRankerConfig:
        self.refuse_similarity()
        return self
