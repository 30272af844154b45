"""Configuration of every retrieval model: how items become vectors, are scored and learned."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from models.input.config import CandidateTowerConfig
from models.tasks.config import RetrievalLossChoice
from models.tasks.config import SampledSoftmaxConfig
from transforms.base_config import Config


class RetrievalModelConfig(Config):
    """Configuration of every retrieval model.

    Attributes:
      family: The kind of model (`models.families`).
      loss: What it is trained to tell its target from; `name` chooses the kind.
      dim: Length of an embedding.
      candidate: The candidate tower.
      tie_item_tables: Whether history items and candidates share one id table.
      history_features: Whether history items are read with their catalogue
        features, or by id alone.
      normalize: Whether both embeddings have length 1 before the temperature.
      temperature: What scores are divided by.
      learn_temperature: Whether training adjusts the temperature.
    """

    family: str
    loss: RetrievalLossChoice = SampledSoftmaxConfig()
    dim: int = Field(default=64, ge=1)
    candidate: CandidateTowerConfig = CandidateTowerConfig()
    tie_item_tables: bool = False
    history_features: bool = True
    normalize: bool = False
    temperature: float = Field(default=1.0, gt=0.0)
    learn_temperature: bool = False

    WINDOW_KEY: ClassVar[str] = ""  # the dotted key of `longest_window`

    @property
    def longest_window(self) -> int:
        """The most events of a history that the model reads."""
        raise NotImplementedError

    @property
    def reads_queries(self) -> bool:
        """Whether the words of a request's query are read."""
        return False
