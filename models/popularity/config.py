"""Configuration of popularity."""

from __future__ import annotations

from typing import ClassVar
from typing import Literal

from pydantic import Field

from models.ranking.config import RankingModelConfig
from models.search_space import Range
from models.search_space import Space


class PopularityConfig(RankingModelConfig):
    """Popularity: the smoothed click rate of an item.

    Attributes:
      prior: Candidates that an item is thought to have had beforehand, at the mean rate.
    """

    family: Literal["popularity"] = "popularity"
    prior: float = Field(default=20.0, gt=0.0)

    SEARCH: ClassVar[Space] = {"model.prior": Range(1.0, 1000.0, log=True)}
