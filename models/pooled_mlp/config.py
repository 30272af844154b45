"""Configuration of the pooled MLP."""

from __future__ import annotations

from typing import Literal

from models.ranking.config import CrossedRankingModelConfig


class PooledMLPConfig(CrossedRankingModelConfig):
    """The mean of the history beside the candidate, crossed, then an MLP."""

    family: Literal["pooled_mlp"] = "pooled_mlp"
