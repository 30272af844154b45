"""Configuration of the pooled MLP."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.ranking.config import RankingModelConfig


class PooledMLPConfig(RankingModelConfig):
    """The mean of the history beside the candidate, crossed, then an MLP.

    Attributes:
      hidden_units: Widths of the MLP's hidden layers.
      crosses: Layers of a deep and cross network (`tfrs.layers.dcn.Cross`) before it.
      dropout: Share of the MLP's values that are zeroed in training.
    """

    family: Literal["pooled_mlp"] = "pooled_mlp"
    hidden_units: tuple[int, ...] = (128, 64)
    crosses: int = Field(default=2, ge=0)
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
