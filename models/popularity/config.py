"""Configuration of popularity."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.ranking.config import RankingModelConfig


class PopularityConfig(RankingModelConfig):
    """Popularity: the smoothed click rate of an item.

    Attributes:
      prior: Candidates that an item is thought to have had beforehand, at the mean rate.
    """

    family: Literal["popularity"] = "popularity"
    prior: float = Field(default=20.0, gt=0.0)
