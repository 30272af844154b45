"""Configuration of every ranking model: what is read of user, request, history and candidates."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic import field_validator

from models.input.config import VECTOR_FEATURES
from models.input.config import CandidateTowerConfig
from models.search_space import Choices
from models.search_space import Range
from models.search_space import Space
from transforms.base_config import Config


class RankingModelConfig(Config):
    """Configuration of every ranking model.

    Attributes:
      family: The kind of model (`models.families`).
      dim: Length of an item's vector.
      candidate: What is read of an item.
      window: The most recent events that are read.
      use_event_types: Whether the type of an event is read.
      use_event_values: Whether the value of an event is read, e.g. its rating.
      use_event_query: Whether the words of the query that led to an event are read.
      use_time: Whether the age of an event, counted from the request, is read.
      use_time_of_day: Whether hour and day of the week of the request are read (UTC).
      use_repeats: Whether it is read how often a candidate itself is among the events, how
        many events ago and, where these are read, of what type, value and age it last was.
      use_user_attributes: Whether the user's attributes are read.
      use_query: Whether the words of the request's query are read.
      max_user_attributes: The attributes of a user that are read.
      max_query_tokens: The words of a query that are read.
      position_bias: Whether training explains clicks by the position, too. A request is
        scored without it (position-bias tower; Guo et al. 2019, PAL). Of impressions alone:
        other rows have no position.
      negative_rate: Share of the impressions without any label that training keeps; each
        counts for those that are left out, too.
      history_codes: Whether requests may carry histories as codes, too (`rank_codes`).
      calibrate: Whether scores are scaled on the validation split to be probabilities there.
    """

    family: str
    dim: int = Field(default=32, ge=1)
    candidate: CandidateTowerConfig = CandidateTowerConfig()
    window: int = Field(default=50, ge=1)
    use_event_types: bool = True
    use_event_values: bool = False
    use_event_query: bool = False
    use_time: bool = False
    use_time_of_day: bool = False
    use_repeats: bool = True
    use_user_attributes: bool = True
    use_query: bool = True
    max_user_attributes: int = Field(default=16, ge=1)
    max_query_tokens: int = Field(default=16, ge=1)
    position_bias: bool = True
    negative_rate: float = Field(default=1.0, gt=0.0, le=1.0)
    history_codes: bool = False
    calibrate: bool = True

    # Parts whose weights a training that starts from earlier ones may leave as they are.
    PARTS: ClassVar[tuple[str, ...]] = ()
    QUERY_TOKENS_KEY: ClassVar[str] = "max_query_tokens"

    # What `vitrine tune` searches for every ranking model; a family adds its own.
    SEARCH: ClassVar[Space] = {
        "optimizer.learning_rate": Range(1e-4, 1e-2, log=True),
        "model.dim": Choices((16, 32, 64)),
        "model.candidate.id_dropout": Range(0.0, 0.5),
        "input.batch_size": Choices((64, 128, 256)),
    }

    @property
    def compared(self) -> tuple[str, ...]:
        """Features of items that are compared, whether or not they are embedded, too."""
        return ()

    @property
    def reads_queries(self) -> bool:
        """True where the words of queries are read, the request's or those of events."""
        return self.use_query or self.use_event_query


class CrossedRankingModelConfig(RankingModelConfig):
    """Configuration of the ranking models whose vectors are crossed, then go through an MLP.

    Attributes:
      hidden_units: Widths of the MLP's hidden layers.
      crosses: Layers of a deep and cross network (`tfrs.layers.dcn.Cross`) before it.
      dropout: Share of the MLP's values that are zeroed in training.
      similarity: Vectors of items, e.g. `image_vector` or `vector/<name>`, whose mean and greatest
        cosine with those of the history the MLP reads. Of `din` and `pooled_mlp`.
    """

    hidden_units: tuple[int, ...] = (128, 64)
    crosses: int = Field(default=2, ge=0)
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    similarity: tuple[str, ...] = ()

    SEARCH: ClassVar[Space] = RankingModelConfig.SEARCH | {
        "model.dropout": Range(0.0, 0.5),
        "model.crosses": Choices((0, 1, 2, 3)),
    }

    @property
    def compared(self) -> tuple[str, ...]:
        """Features of items that are compared; see the base class."""
        return self.similarity

    @field_validator("similarity")
    @classmethod
    def _are_vectors(cls, similarity: tuple[str, ...]) -> tuple[str, ...]:
        for name in similarity:
            if name not in VECTOR_FEATURES and not name.startswith("vector/"):
                raise ValueError(
                    f"Only vectors are compared: expected {', '.join(VECTOR_FEATURES)} or "
                    f"`vector/<name>`. Received: `{name}`."
                )
        return similarity

    def refuse_similarity(self) -> None:
        """Refuses what a family does not read.

        Raises:
            ValueError: There is a `similarity`.
        """
        if self.similarity:
            raise ValueError(
                f"`similarity` is read by `din` and `pooled_mlp`; `{self.family}` does not. "
                "Choose one of these, or leave it out."
            )
