"""Configuration of the sequence ranker."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.ranking.config import RankingModelConfig
from models.sequence.config import EncoderConfig


class SequenceRankerConfig(RankingModelConfig):
    """A transformer over the history gives the user's vector.

    Attributes:
      encoder: The encoder, as the sequence model's.
      hidden_units: Widths of the MLP's hidden layers.
      crosses: Layers of a deep and cross network (`tfrs.layers.dcn.Cross`) before it.
      dropout: Share of the MLP's values that are zeroed in training.
    """

    family: Literal["sequence_ranker"] = "sequence_ranker"
    encoder: EncoderConfig = EncoderConfig(blocks=1)
    hidden_units: tuple[int, ...] = (128, 64)
    crosses: int = Field(default=2, ge=0)
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
