"""Configuration of logistic regression."""

from __future__ import annotations

from typing import Literal

from models.ranking.config import RankingModelConfig


class LogisticRegressionConfig(RankingModelConfig):
    """Logistic regression on item, user, query and time of day, without the history."""

    family: Literal["logistic_regression"] = "logistic_regression"
