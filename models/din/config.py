"""Configuration of DIN."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.ranking.config import RankingModelConfig


class DINConfig(RankingModelConfig):
    """DIN: each candidate attends to the history.

    Attributes:
      attention_hidden: Widths of the layers that weigh an event by a candidate.
      hidden_units: Widths of the MLP's hidden layers.
      crosses: Layers of a deep and cross network (`tfrs.layers.dcn.Cross`) before it.
      dropout: Share of the MLP's values that are zeroed in training.
    """

    family: Literal["din"] = "din"
    attention_hidden: tuple[int, ...] = (64, 32)
    hidden_units: tuple[int, ...] = (128, 64)
    crosses: int = Field(default=2, ge=0)
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
