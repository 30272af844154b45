"""Configuration of the two-tower."""

from __future__ import annotations

from typing import ClassVar
from typing import Literal

from pydantic import Field
from pydantic import model_validator

from models.retrieval.config import RETRIEVAL
from models.retrieval.config import RetrievalModelConfig
from models.search_space import Choices
from models.search_space import Range
from models.search_space import Space
from transforms.base_config import Config
from transforms.base_config import FromLog
from transforms.base_config import from_log


class QueryTowerConfig(Config):
    """Configuration of the query tower.

    Attributes:
      window: The most recent events that the tower reads.
      heads: Learned poolings of the window, each with recency weights of its own.
      last_items: The most recent events that the tower also reads one by one.
      content_dim: Width of the dot product with which the last items weight the
        window's events by what they are; 0 leaves recency alone.
      hidden_units: Widths of the MLP's hidden layers.
      dropout: Share of the MLP's inputs that are zeroed in training.
      item_dropout: Share of the history vectors' values that are zeroed in training.
      use_order: Whether it counts which events are newer. Without, a history is a set: no last
        items and no poolings by recency, but the sum over the root of the number of events.
      use_event_types: Whether the type of an event is read.
      use_time: Whether the age of an event, counted from the request, is read.
      use_user_attributes: Whether the user's attributes are read.
      use_query: Whether the words of the request's query are read.
      max_user_attributes: The attributes of a user that are read.
      max_query_tokens: The words of a query that are read.
    """

    window: FromLog[int] = from_log(ge=1)
    heads: int = Field(default=8, ge=1)
    last_items: int = Field(default=3, ge=1)
    content_dim: int = Field(default=32, ge=0)
    hidden_units: tuple[int, ...] = (256,)
    dropout: FromLog[float] = from_log(ge=0.0, lt=1.0)
    item_dropout: FromLog[float] = from_log(ge=0.0, lt=1.0)
    use_order: bool = True
    use_event_types: bool = True
    use_time: FromLog[bool] = from_log()
    use_user_attributes: bool = True
    use_query: bool = False
    max_user_attributes: int = Field(default=16, ge=1)
    max_query_tokens: int = Field(default=16, ge=1)

    @model_validator(mode="after")
    def _window_holds_the_last_items(self) -> QueryTowerConfig:
        if self.last_items > (self.window or self.last_items):  # None follows from the log
            raise ValueError(
                f"`last_items` ({self.last_items}) should be at most `window` ({self.window})."
            )
        return self


class TargetInputConfig(Config):
    """Configuration of the draw of targets from timelines.

    Attributes:
      targets_per_timeline: At most so many targets of a timeline in an epoch,
        drawn anew each time; 0 takes all.
      seen_window: The most recent events whose items are no negatives
        (`loss.exclude_history`) where that applies.
    """

    targets_per_timeline: int = Field(default=0, ge=0)
    seen_window: int = Field(default=200, ge=1)


class TwoTowerConfig(RetrievalModelConfig):
    """The two-tower: a query tower over the timeline, a candidate tower over the catalogue.

    Attributes:
      query: The query tower.
      input: How targets are drawn from timelines.
    """

    family: Literal["two_tower"] = "two_tower"
    query: QueryTowerConfig = QueryTowerConfig()
    input: TargetInputConfig = TargetInputConfig()

    WINDOW_KEY: ClassVar[str] = "query.window"
    SEARCH: ClassVar[Space] = RETRIEVAL | {
        "model.dim": Choices((32, 64, 128, 256)),
        "model.query.window": Choices((20, 50, 100)),
        "model.query.dropout": Range(0.0, 0.6),
        "model.query.item_dropout": Range(0.0, 0.5),
        "input.batch_size": Choices((128, 256, 512, 1024)),
    }

    @property
    def longest_window(self) -> int:
        """The most events of a history that the model reads."""
        return self.query.window

    @property
    def reads_queries(self) -> bool:
        """True where the words of a request's query are read."""
        return self.query.use_query
