"""Configuration of DIN."""

from __future__ import annotations

from typing import Literal

from models.ranking.config import CrossedRankingModelConfig


class DINConfig(CrossedRankingModelConfig):
    """DIN: each candidate attends to the history.

    Attributes:
      attention_hidden: Widths of the layers that weigh an event by a candidate.
    """

    family: Literal["din"] = "din"
    attention_hidden: tuple[int, ...] = (64, 32)
