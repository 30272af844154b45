"""Configurations of the ranking models of long histories."""

from __future__ import annotations

from typing import ClassVar
from typing import Literal

from pydantic import Field
from pydantic import model_validator

from models.ranking.config import CrossedRankingModelConfig
from models.search_space import Choices
from models.search_space import Space


class LifelongConfig(CrossedRankingModelConfig):
    """Configuration of every model of long histories.

    Attributes:
      window: The most recent events that are read; the default is as many as the example
        generator repeats before a chunk.
      recent: The newest events, of which the head reads the mean; that of all is read when null.
      history_codes: As for every ranking model.
    """

    window: int = Field(default=256, ge=1)
    recent: int | None = Field(default=None, ge=1)
    history_codes: bool = True

    @model_validator(mode="after")
    def _compares_nothing(self) -> LifelongConfig:
        self.refuse_similarity()
        return self


class SearchConfig(LifelongConfig):
    """Configuration of the models that find some of the events and attend to these.

    Attributes:
      heads: Heads of the attention; they divide `dim`.
      top_k: How many events each candidate finds.
      normalise: Whether the attention compares vectors of a root mean square of 1 and its
        projections start as the identity. The attention is as published where false.
    """

    heads: int = Field(default=4, ge=1)
    top_k: int = Field(default=50, ge=1)
    normalise: bool = False

    SEARCH: ClassVar[Space] = CrossedRankingModelConfig.SEARCH | {
        "model.top_k": Choices((20, 50, 100)),
    }

    @model_validator(mode="after")
    def _divides(self) -> SearchConfig:
        if self.dim % self.heads:
            raise ValueError(
                f"`heads` should divide `dim`; received {self.heads} heads and `dim` {self.dim}."
            )
        return self


class TwinConfig(SearchConfig):
    """TWIN: search and attention by the same projections."""

    family: Literal["twin"] = "twin"


class SimConfig(SearchConfig):
    """SIM: search by learned products, or among items of the same category.

    Attributes:
      search: `soft` scores events by projections that learn by a loss of their own; `hard`
        takes the newest events that share a category with the candidate.
    """

    family: Literal["sim"] = "sim"
    search: Literal["soft", "hard"] = "soft"


class EtaConfig(SearchConfig):
    """ETA: search by the Hamming distance of sign hashes.

    Attributes:
      bits: Of a hash.
    """

    family: Literal["eta"] = "eta"
    bits: int = Field(default=64, ge=1)


class SdimConfig(LifelongConfig):
    """SDIM: the mean of the events in the candidate's bucket, over rounds of hashing.

    Attributes:
      rounds: How many hashes.
      width: Bits of each, so that it has 2^width buckets.
    """

    family: Literal["sdim"] = "sdim"
    rounds: int = Field(default=16, ge=1)
    width: int = Field(default=3, ge=1, le=16)
