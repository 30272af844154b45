"""Configuration of the sequence model."""

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
from models.sequence.encoder_config import EncoderConfig
from transforms.base_config import Config
from transforms.base_config import FromLog
from transforms.base_config import from_log


class RetrievalEncoderConfig(EncoderConfig):
    """Configuration of the encoder in a retrieval model; what is None follows from the log."""

    blocks: FromLog[int] = from_log(ge=1)
    dropout: FromLog[float] = from_log(ge=0.0, lt=1.0)
    event_dropout: FromLog[float] = from_log(ge=0.0, lt=1.0)
    use_time: FromLog[bool] = from_log()


class SequenceInputConfig(Config):
    """Configuration of training sequences, which are cut from timelines.

    Attributes:
      length: Events that the model reads; longer timelines are cut into windows.
      windows: `all` learns from every window of a timeline, `last` from the newest (of
        each part, where the example generator has cut a very long timeline).
      overlap: Events that a window shares with the next newer one. They are
        context there, and targets in the older window alone.
      length_multiple: Lengths of batches, the start token among them, are rounded up to a
        multiple of this, and to `length` + 1 at most; set it to that for XLA, which
        compiles anew for each shape.
    """

    length: FromLog[int] = from_log(ge=1)
    windows: Literal["all", "last"] = "all"
    overlap: int = Field(default=0, ge=0)
    length_multiple: int = Field(default=8, ge=1)

    @model_validator(mode="after")
    def _windows_advance(self) -> SequenceInputConfig:
        if self.length and self.overlap >= self.length:  # None follows from the log
            raise ValueError(
                f"`overlap` ({self.overlap}) should be below `length` ({self.length})."
            )
        return self


class SequenceConfig(RetrievalModelConfig):
    """A transformer over the timeline, a candidate tower over the catalogue.

    Attributes:
      tie_item_tables: Whether history items and candidates share one id table. In it an
        item that is never a target has no vector of its own, in a history neither: give
        histories their own where targets are few among the events.
      encoder: How a sequence is read.
      interests: Vectors of a query, whose scores are mixed (`models.layers.mixture`); the loss and
        the search cost as many times as much.
      input: How timelines become sequences.
      objective: `next` learns to find the next event at every position; `masked`
        to find masked events from both sides.
      mask_share: Share of the events that `masked` hides; the newest one always is, but in GUIM.
      xla: Whether training compiles the encoder by XLA, which has its own random numbers:
        dropout then does not follow `seed`.
    """

    family: Literal["sequence"] = "sequence"
    tie_item_tables: bool = True
    encoder: RetrievalEncoderConfig = RetrievalEncoderConfig()
    interests: int = Field(default=1, ge=1)
    input: SequenceInputConfig = SequenceInputConfig()
    objective: Literal["next", "masked"] = "next"
    mask_share: float = Field(default=0.2, gt=0.0, lt=1.0)
    xla: bool = False

    WINDOW_KEY: ClassVar[str] = "input.length"
    SEARCH: ClassVar[Space] = RETRIEVAL | {
        "model.dim": Choices((64, 128, 256)),
        "model.input.length": Choices((50, 100, 200)),
        "model.encoder.blocks": Choices((1, 2)),
        "model.encoder.dropout": Range(0.0, 0.6),
        "model.encoder.event_dropout": Range(0.0, 0.4),
        "input.batch_size": Choices((512, 1024, 2048, 4096)),
    }

    @property
    def longest_window(self) -> int:
        """The most events of a history that the model reads."""
        return self.input.length

    @model_validator(mode="after")
    def _parts_fit(self) -> SequenceConfig:
        heads = self.encoder.heads
        dim = self.dim or 2 * heads  # None follows from the log, and fits
        if dim % heads:
            raise ValueError(f"`encoder.heads` ({heads}) should divide `dim` ({dim}).")
        if self.encoder.block == "gru" and self.objective == "masked":
            raise ValueError(
                "A `gru` reads forwards only, so it cannot find events from both sides: set "
                "`objective: next`, or another `encoder.block`."
            )
        if self.xla and self.encoder.block == "gru":
            raise ValueError(
                "XLA cannot compile a `gru` here: leave `xla` off, or choose another "
                "`encoder.block`."
            )
        if self.xla and self.encoder.use_user_attributes:
            raise ValueError(
                "XLA cannot compile the mean over a user's attributes: leave `xla` or "
                "`encoder.use_user_attributes` off."
            )
        if self.encoder.positions == "rotary" and dim // heads % 2:
            raise ValueError(
                f"Rotary positions turn pairs of values: `dim` / `encoder.heads` should be even, "
                f"received {dim} / {heads}."
            )
        return self
