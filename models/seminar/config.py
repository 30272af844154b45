"""Configuration of SEMINAR."""

from __future__ import annotations

from typing import ClassVar
from typing import Literal

from pydantic import Field
from pydantic import model_validator

from models.input.config import CandidateTowerConfig
from models.lifelong.config import SearchConfig
from models.search_space import Range
from models.search_space import Space
from transforms.base_config import Config


class ChannelsConfig(CandidateTowerConfig):
    """Configuration of an item's channels; a channel without features of the log is left out.

    Attributes:
      image: The features of the image's channel.
      text: Those of the text's. The id and all other features make the channel of attributes.
    """

    image: tuple[str, ...] = ("image_vector",)
    text: tuple[str, ...] = ("title", "text_vector")

    @model_validator(mode="after")
    def _is_a_sum(self) -> ChannelsConfig:
        twice = sorted(set(self.image) & set(self.text))
        if twice:
            raise ValueError(f"`image` and `text` should share no feature; received {twice} twice.")
        if self.hidden_units:
            raise ValueError(
                "`candidate.hidden_units` refines the sum of an item's parts, where this model "
                f"fuses its channels; received {self.hidden_units}. Leave it out."
            )
        return self


class QuantisationConfig(Config):
    """Configuration of the codes that a history may be searched by.

    Attributes:
      sub_vectors: Codes of a channel's vector; they divide `dim`.
      centroids: Of a sub-vector; up to 256 make codes of a byte.
      refresh: Codebooks that a warm start found are kept until a channel's quantisation error is
        more than so many times that of their fit.
    """

    sub_vectors: int = Field(default=8, ge=1)
    centroids: int = Field(default=256, ge=2, le=1 << 16)
    refresh: float = Field(default=1.1, ge=1.0)


class CoarseConfig(Config):
    """Configuration of the coarse level of a search.

    Attributes:
      cells: Cells that items are divided into, by k-means of their vectors.
      events: How many events of a history, those of the cells that the page's candidates attend
        to most, are read any further.
      more_events: By how much each candidate beside the first makes the list longer.
      top_k: Whether each head finds its own `top_k` in the list; it attends to all when false.
    """

    cells: int = Field(default=1_024, ge=2, le=1 << 16)
    events: int = Field(default=512, ge=1)
    more_events: int = Field(default=8, ge=0)
    top_k: bool = False


class LossTermConfig(Config):
    """Configuration of one loss of the pretraining.

    Attributes:
      use: Whether it counts.
      weight: How much.
    """

    use: bool = True
    weight: float = Field(default=1.0, ge=0.0)


class AlignmentConfig(LossTermConfig):
    """Configuration of the alignment of channels.

    Attributes:
      temperature: That cosines are divided by.
      chunk: Items that are told apart at a time.
    """

    temperature: float = Field(default=0.05, gt=0.0)
    chunk: int = Field(default=1_000, ge=2)


class RelevanceConfig(LossTermConfig):
    """Configuration of the relevance of items to queries.

    Attributes:
      temperature: That cosines are divided by.
      negatives: Other events of the same history, beside each.
    """

    temperature: float = Field(default=0.05, gt=0.0)
    negatives: int = Field(default=5, ge=1)


class LossesConfig(Config):
    """Configuration of the pretraining search unit's losses.

    Attributes:
      next_pair: Prediction of the next query-item pair.
      alignment: Of an item's channels.
      relevance: Of items to the queries that led to them.
    """

    next_pair: LossTermConfig = LossTermConfig()
    alignment: AlignmentConfig = AlignmentConfig()
    relevance: RelevanceConfig = RelevanceConfig()

    @model_validator(mode="after")
    def _uses_one(self) -> LossesConfig:
        if not (self.next_pair.use or self.alignment.use or self.relevance.use):
            raise ValueError("No loss is used: there would be nothing to learn from.")
        return self


class PairsConfig(SearchConfig):
    """Query-item pairs and the attention to them, in pretraining and in ranking.

    Attributes:
      query_share: Share of the query in a pair, where the log has queries.
      normalise: As for `SearchConfig`, of queries and items each for itself.
    """

    candidate: ChannelsConfig = ChannelsConfig()
    normalise: bool = True
    use_event_query: bool = True
    query_share: float = Field(default=0.5, ge=0.0, le=1.0)


class SeminarConfig(PairsConfig):
    """SEMINAR: pairs of a query and an item, searched by target attention.

    Attributes:
      search: `exact` multiplies vectors; `quantised` sums table entries that the codes of
        events name, outside of training.
      quantisation: The codes of `quantised`.
      coarse: Searches only the events of some cells, outside of training; all when null.
    """

    family: Literal["seminar"] = "seminar"
    search: Literal["exact", "quantised"] = "exact"
    quantisation: QuantisationConfig = QuantisationConfig()
    coarse: CoarseConfig | None = None

    SEARCH: ClassVar[Space] = SearchConfig.SEARCH | {"model.query_share": Range(0.1, 0.9)}
    PARTS: ClassVar[tuple[str, ...]] = ("embeddings", "vectors", "projections", "attention")

    @model_validator(mode="after")
    def _codes_fit(self) -> SeminarConfig:
        if self.dim % self.quantisation.sub_vectors:
            raise ValueError(
                "`quantisation.sub_vectors` should divide `dim`; received "
                f"{self.quantisation.sub_vectors} and `dim` {self.dim}."
            )
        if self.search == "quantised" and self.coarse and not self.coarse.top_k:
            raise ValueError(
                "Nothing is searched by codes where heads attend to all of the list of `coarse`. "
                "Set `coarse.top_k`, or choose `search: exact`."
            )
        return self


class SeminarPretrainingConfig(PairsConfig):
    """The pretraining search unit: SEMINAR's pairs and attention, before it ranks.

    Attributes:
      losses: What is learned.
      use_user_attributes: No loss reads the user.
      use_repeats: Nor how often a candidate is in the history.
    """

    family: Literal["seminar_pretraining"] = "seminar_pretraining"
    losses: LossesConfig = LossesConfig()
    use_user_attributes: bool = False
    use_repeats: bool = False

    PRETRAINS: ClassVar[str] = "seminar"
    # What the pretrained model has to have in common with the ranking model.
    COMMON: ClassVar[tuple[str, ...]] = (
        "dim",
        "heads",
        "top_k",
        "window",
        "candidate",
        "normalise",
        "query_share",
        "use_event_types",
        "use_event_values",
        "use_event_query",
        "use_time",
        "use_query",
        "max_query_tokens",
    )
