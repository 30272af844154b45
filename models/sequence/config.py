"""Configuration of the sequence model."""

from __future__ import annotations

from typing import ClassVar
from typing import Literal

from pydantic import Field
from pydantic import model_validator

from models.retrieval.config import RetrievalModelConfig
from transforms.base_config import Config


class EncoderConfig(Config):
    """Configuration of the encoder, from a sequence of events to a sequence of query vectors.

    Attributes:
      block: `attention` is a transformer's block with softmax attention, `hstu` the
        gated pointwise attention of HSTU, `gru` a recurrent unit, which needs no
        positions and cannot read masked sequences.
      blocks: How many blocks follow one another.
      heads: Attention heads of a block; they divide the dimension.
      feed_forward_multiplier: Width of a transformer block's feed-forward layer, in dimensions.
      dropout: Share of values that are zeroed in training, of the events and in
        each block.
      event_dropout: Share of whole events that are zeroed in training, so that no
        single event decides; helps where histories are short and items rare.
      positions: How positions are told apart: `absolute` adds a vector for the
        position in the window, `rotary` turns queries and keys by it, `relative`
        adds a bias for the distance to the attention; `none` leaves it to the
        direction of attention.
      use_event_types: Whether the type of an event is read.
      use_time: Whether times are read: the interval before an event, and, where there
        is attention, how long before the request it was as a bias of it.
      use_user_attributes: Whether the user's attributes are read, with every event.
      max_user_attributes: The attributes of a user that are read.
    """

    block: Literal["attention", "hstu", "gru"] = "attention"
    blocks: int = Field(default=2, ge=1)
    heads: int = Field(default=2, ge=1)
    feed_forward_multiplier: float = Field(default=4.0, gt=0.0)
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    event_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    positions: Literal["absolute", "rotary", "relative", "none"] = "relative"
    use_event_types: bool = True
    use_time: bool = False
    use_user_attributes: bool = False
    max_user_attributes: int = Field(default=16, ge=1)

    @property
    def attributes(self) -> int:
        """Number of a user's attributes that are read; 0 is none."""
        return self.max_user_attributes if self.use_user_attributes else 0


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

    length: int = Field(default=200, ge=1)
    windows: Literal["all", "last"] = "all"
    overlap: int = Field(default=0, ge=0)
    length_multiple: int = Field(default=8, ge=1)

    @model_validator(mode="after")
    def _windows_advance(self) -> SequenceInputConfig:
        if self.overlap >= self.length:
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
      input: How timelines become sequences.
      objective: `next` learns to find the next event at every position; `masked`
        to find masked events from both sides.
      mask_share: Share of the events that `masked` hides; the newest one always is.
      xla: Whether training compiles the encoder by XLA, which has its own random numbers:
        dropout then does not follow `seed`.
    """

    family: Literal["sequence"] = "sequence"
    tie_item_tables: bool = True
    encoder: EncoderConfig = EncoderConfig()
    input: SequenceInputConfig = SequenceInputConfig()
    objective: Literal["next", "masked"] = "next"
    mask_share: float = Field(default=0.2, gt=0.0, lt=1.0)
    xla: bool = False

    WINDOW_KEY: ClassVar[str] = "input.length"

    @property
    def longest_window(self) -> int:
        """The most events of a history that the model reads."""
        return self.input.length

    @model_validator(mode="after")
    def _parts_fit(self) -> SequenceConfig:
        heads = self.encoder.heads
        if self.dim % heads:
            raise ValueError(f"`encoder.heads` ({heads}) should divide `dim` ({self.dim}).")
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
        if self.encoder.positions == "rotary" and self.dim // heads % 2:
            raise ValueError(
                f"Rotary positions turn pairs of values: `dim` / `encoder.heads` should be even, "
                f"received {self.dim} / {heads}."
            )
        return self
