"""Configuration of the encoder, which rankers have, too."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

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
