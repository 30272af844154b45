"""Configuration of GMN."""

from __future__ import annotations

from typing import ClassVar
from typing import Literal

from pydantic import Field
from pydantic import model_validator

from models.search_space import Choices
from models.search_space import Space
from models.two_tower.config import QueryTowerConfig
from models.two_tower.config import TwoTowerConfig


class MatchingTowerConfig(QueryTowerConfig):
    """Configuration of the query tower; what is inherited is meant for each kind of entity.

    Without both levels this is a two-tower that pools two histories apart.

    Attributes:
      dropout: Share of the MLP's inputs, of messages between nodes, and of matched preferences,
        that is zeroed in training.
      window: The most recent events of a timeline, of both kinds, among which neighbours are.
      neighbours: Of each kind, the most neighbours that are read.
      draw: Which neighbours training reads, where there are more; `sampled` is for logs
        without times. A request reads the most recent ones.
      training_neighbours: Of each kind, the most neighbours that training reads; None is as many
        as requests. Matching costs with their number, and fewer of them teach as dropout does.
      neighbour_dropout: Share of the neighbours that training hides, anew each time.
      node_level: Whether the nodes of the two kinds are matched.
      preference_level: Whether preferences of the two kinds are matched.
      preferences: K, of each kind.
      sinkhorn_iterations: After how many the match of preferences is doubly stochastic;
        0 makes it a softmax over the other kind's.
      vectors: Whether a user is one vector, or K of which the mixture scores.
    """

    neighbours: int = Field(default=50, ge=1)
    draw: Literal["recent", "sampled"] = "recent"
    training_neighbours: int | None = Field(default=None, ge=1)
    neighbour_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    node_level: bool = True
    preference_level: bool = True
    preferences: int = Field(default=4, ge=1)
    sinkhorn_iterations: int = Field(default=3, ge=0)
    vectors: Literal["one", "several"] = "one"

    @model_validator(mode="after")
    def _fits(self) -> MatchingTowerConfig:
        fewest = min(self.neighbours, self.training_neighbours or self.neighbours)
        if self.last_items > fewest:
            raise ValueError(
                f"`last_items` ({self.last_items}) should be at most `neighbours` and "
                f"`training_neighbours` ({fewest})."
            )
        if (self.training_neighbours or 1) > self.neighbours:
            raise ValueError(
                f"`training_neighbours` ({self.training_neighbours}) should be at most "
                f"`neighbours` ({self.neighbours})."
            )
        if self.neighbours > (self.window or self.neighbours):  # None follows from the log
            raise ValueError(
                f"`neighbours` ({self.neighbours}) should be at most `window` ({self.window}), "
                "which holds those of both kinds."
            )
        if self.vectors == "several" and not self.preference_level:
            raise ValueError(
                "`vectors: several` are the matched preferences, which there are not with "
                "`preference_level: false`. Switch it on, or ask for `vectors: one`."
            )
        return self


class GMNConfig(TwoTowerConfig):
    """Two-tower whose query tower matches what a user watches with what the user buys.

    The entities of `candidate_types` are one kind, all others the other kind.

    Attributes:
      query: The query tower.
      start: What the tables of entities start as: random, or `graph` for factors of the graph of
        users and entities (`models.gmn.graph_factors`), which hold what is more hops away.
    """

    family: Literal["gmn"] = "gmn"  # type: ignore[assignment]
    query: MatchingTowerConfig = MatchingTowerConfig()
    start: Literal["random", "graph"] = "random"

    SEARCH: ClassVar[Space] = TwoTowerConfig.SEARCH | {
        "model.query.window": Choices((50, 100, 200)),
        "model.query.preferences": Choices((1, 2, 4, 8)),
        "model.query.sinkhorn_iterations": Choices((0, 3)),
    }
