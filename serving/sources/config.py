"""Configuration of the sources of candidates: how neighbours are counted, checked and score."""

from __future__ import annotations

from pydantic import Field
from pydantic import model_validator

from serving.index.config import EVERY
from transforms.base_config import Config


class CountingConfig(Config):
    """Configuration of `NeighbourBuilder`.

    With n_a the counted events of a and F the sum below, the weight of b for who
    has a is

        weight(a, b) = F(a, b) / sqrt((n_a + damping) (n_b + damping))
        F(a, b)      = sum over pairs of one user's events, a then b, g <= window apart,
                       of g ** -gap_power
                     + backwards * the same sum over pairs b then a
                     + cooccurrence * users who have both, where a is not b

    An entity that users come back to within the window is a neighbour of itself, with the
    weight of its repeats; `exclude_seen` keeps it out of answers.

    Attributes:
        event_types: Events of these types are counted; ["*"] is all. Only they are
            neighbours in time: others between them are left out.
        candidate_types: Entity types that may be a neighbour, or ["*"] for all. Entities of
            every type have neighbours.
        window: Two events of a user are a pair when at most so many apart; 0 for no pairs.
        gap_power: How fast a pair's weight falls with its gap g: `g ** -gap_power`.
        backwards: Share of that weight which the later event gives the earlier one.
        cooccurrence: Weight of a user who has both entities, in whatever order; 0 for none.
        cooccurrence_events: How many of a user's entities, the newest ones, count as
            occurring together; the work grows with it.
        damping: Added to the counts of both entities, so that rare ones are not sure of
            their neighbours.
        half_life_days: Time in which the weight of a pair halves, counted from its later
            event to the newest event of training; None for no decay. It needs true times.
        user_events: How many of a user's counted events, the newest ones, count: a
            scraper is no customer.
        partners: Partners of an entity that one file of timelines keeps, those of the highest
            weight. Where an entity has more, weights are sums over the files that kept the
            pair; otherwise they are exact.
        neighbours: Neighbours of an entity that are written, the best ones.
    """

    event_types: tuple[str, ...] = (EVERY,)
    candidate_types: tuple[str, ...] = (EVERY,)
    window: int = Field(5, ge=0, le=1_000)
    gap_power: float = Field(1.0, ge=0, le=10)
    backwards: float = Field(0.5, ge=0, le=1)
    cooccurrence: float = Field(1.0, ge=0, le=1_000)
    cooccurrence_events: int = Field(20, ge=2, le=10_000)
    damping: float = Field(5.0, ge=0)
    half_life_days: float | None = Field(None, gt=0)
    user_events: int = Field(10_000, ge=2)
    partners: int = Field(1_000, gt=0)
    neighbours: int = Field(200, gt=0)


class ListCheckConfig(CountingConfig):
    """Configuration of `NeighbourValidator`, which counts some lists again.

    Attributes:
        validation_entities: Entities whose lists are counted again: half of them drawn by
            their events, so that popular ones are among them, half of them alike.
        min_recall: Lowest share of the recounted best `neighbours`, a mean over those
            entities, that is blessed; what `partners` cuts off lowers it.
        max_weight_error: Highest difference of a weight from its recount, over the larger of
            the two and besides rounding, that is blessed. A weight that `partners` may have
            cut is held to it from above alone.
        min_coverage: Lowest share of counted events whose entity has a neighbour that is
            blessed.
    """

    validation_entities: int = Field(200, gt=0)
    min_recall: float = Field(0.98, ge=0, le=1)
    max_weight_error: float = Field(0.01, ge=0, le=1)
    min_coverage: float = Field(0.0, ge=0, le=1)


class ScoringConfig(Config):
    """Configuration of what neighbours' weights are summed over.

        score(b) = sum over the newest events e of the history of
                   decay ** (steps back) * weight(e, b)

    Attributes:
        decay: Weight of an event over that of the next newer one.
        newest_events: How many of a history's newest counted events are read.
    """

    decay: float = Field(0.7, gt=0, le=1)
    newest_events: int = Field(20, gt=0)


class NeighboursConfig(ListCheckConfig, ScoringConfig):
    """The section `neighbours`: what was consumed together, and in what order."""

    @model_validator(mode="after")
    def _counts_something(self) -> NeighboursConfig:
        if not self.window and not self.cooccurrence:
            raise ValueError(
                "With `window: 0` and `cooccurrence: 0` no pair is counted; raise one of them."
            )
        if self.partners < self.neighbours:
            raise ValueError(
                f"`partners` ({self.partners}) are what `neighbours` ({self.neighbours}) are "
                "chosen from: raise the first or lower the second."
            )
        return self


class UnionConfig(Config):
    """Configuration of how many candidates each source brings to a request.

    Attributes:
        tower: The best of the tower; never fewer than the servable's results.
        neighbours: The best neighbours of the newest events together.
        neighbours_per_event: Neighbours of one event that are read, the best ones.
        repeats: Newest events of the user whose items are looked at again; what
            `exclude_seen` names stays out all the same.
        popularity: Most frequent items of training.
        freshness: Items that became available last.
    """

    tower: int = Field(100, gt=0)
    neighbours: int = Field(150, ge=0)
    neighbours_per_event: int = Field(64, gt=0)
    repeats: int = Field(20, gt=0)
    popularity: int = Field(100, ge=0)
    freshness: int = Field(30, ge=0)


class FitConfig(Config):
    """Configuration of how the combination is learned from the validation split.

    Attributes:
        examples: Timelines at most; of them `without_history` are asked again without one.
        without_history: See `examples`.
        smoothing: Strength of what draws weights of a bucket of history lengths to those of
            all, in examples.
        shrinkage: Strength of what draws those of all to 0, in examples.
    """

    examples: int = Field(10_000, gt=0)
    without_history: int = Field(2_000, ge=0)
    smoothing: float = Field(30.0, ge=0)
    shrinkage: float = Field(3.0, gt=0)


class SourcesConfig(Config):
    """The section `sources`: where candidates come from besides the towers.

    Neighbours are counted in every run, which says what counting gives.

    Attributes:
        enabled: Whether the servable joins the sources.
        neighbours: How neighbours are counted, how lists are checked and how they score.
        union: How many candidates each source brings.
        fit: How their combination is learned.
    """

    enabled: bool = True
    neighbours: NeighboursConfig = NeighboursConfig()
    union: UnionConfig = UnionConfig()
    fit: FitConfig = FitConfig()
