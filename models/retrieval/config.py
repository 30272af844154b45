"""Configuration of every retrieval model: how items become vectors, are scored and learned."""

from __future__ import annotations

from typing import ClassVar

from models.input.config import CandidateTowerConfig
from models.search_space import Choices
from models.search_space import Range
from models.search_space import Space
from models.tasks.config import RetrievalLossChoice
from transforms.base_config import Config
from transforms.base_config import FromLog
from transforms.base_config import from_log

# What `vitrine tune` searches for every retrieval model; a family adds its own.
RETRIEVAL: Space = {
    "optimizer.learning_rate": Range(3e-4, 2e-2, log=True),
    "model.temperature": Range(0.02, 2.0, log=True),
    "model.candidate.id_dropout": Range(0.0, 0.5),
    "model.loss.negatives": Choices((256, 512, 1024, 2048)),  # of losses that sample
    "model.loss.uniform_share": Range(0.0, 1.0),
}


class RetrievalModelConfig(Config):
    """Configuration of every retrieval model.

    What is None follows from the log (`models.defaults`).

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
    loss: FromLog[RetrievalLossChoice] = from_log()
    dim: FromLog[int] = from_log(ge=1)
    candidate: CandidateTowerConfig = CandidateTowerConfig()
    tie_item_tables: bool = False
    history_features: bool = True
    normalize: FromLog[bool] = from_log()
    temperature: FromLog[float] = from_log(gt=0.0)
    learn_temperature: bool = False

    WINDOW_KEY: ClassVar[str] = ""  # the dotted key of `longest_window`
    QUERY_TOKENS_KEY: ClassVar[str] = "query.max_query_tokens"  # where queries are read
    SEARCH: ClassVar[Space] = RETRIEVAL

    @property
    def longest_window(self) -> int:
        """The most events of a history that the model reads."""
        raise NotImplementedError

    @property
    def reads_queries(self) -> bool:
        """True where the words of a request's query are read."""
        return False
