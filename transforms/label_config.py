"""Configuration of labels: what a ranking model predicts, and on which rows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic import model_validator

from transforms.base_config import Config

CLICKED = "clicked"  # the head of a label that is no event type
SCORES = "scores"  # the output of a ranker's first head


class LabelConfig(Config):
    """Rows that a ranking model is trained and judged on, and when they are positive.

    Attributes:
      source: `impressions` are what result pages showed, positive where an event of a
        head's type with the same entity followed on the page. `values` are events with
        a value, one a page, positive from `at_least` on. `events` are events about
        candidates, all of them positive, each on a page with `negatives` random candidates
        that were available then.
      events: Event types. Of impressions each is a head of the model; `*` is any, and
        one head. Of `values` and `events` the types that give rows.
      at_least: The least value of a positive row (`values`).
      negatives: Random candidates beside each event (`events`).
      max_candidates: Candidates of a page that are kept, from the first position on.
      max_history: The newest events before a held-out page that are written with it. Each
        page repeats them. The default is four times the longest window that a ranker has
        with the other defaults: events of unknown entities are dropped before it is cut.
    """

    source: Literal["impressions", "values", "events"] = "impressions"
    events: tuple[str, ...] = ("*",)
    at_least: float = 4.0
    negatives: int = Field(default=4, ge=1)
    max_candidates: int = Field(default=64, ge=1)
    max_history: int = Field(default=1_000, ge=1)

    @model_validator(mode="after")
    def _fits_a_bit_mask(self) -> LabelConfig:
        if not self.events or len(self.heads) > 32:
            raise ValueError(f"`events` should name 1 to 32 types; received {len(self.events)}.")
        if len(set(self.events)) < len(self.events):
            raise ValueError(f"`events` should name each type once; received {self.events}.")
        if SCORES in self.heads[1:]:
            raise ValueError(
                f"`events` names `{SCORES}` as a further head, which is what a ranker calls the "
                "output of its first head. Put it first, or rename the event type."
            )
        return self

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of what is predicted, in the order of the bits of `label/events`."""
        if self.source == "impressions" and "*" not in self.events:
            return self.events
        return (CLICKED,)

    @property
    def width(self) -> int:
        """The most candidates of a page."""
        return {"impressions": self.max_candidates, "values": 1, "events": 1 + self.negatives}[
            self.source
        ]
