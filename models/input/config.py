"""Configuration of what models read of catalogue items."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from transforms.base_config import Config

ItemFeature = Literal["categories", "attributes", "title", "price", "image_vector", "text_vector"]


class CandidateTowerConfig(Config):
    """Configuration of the candidate tower.

    Attributes:
      features: The catalogue features that are read beside the id.
      max_categories: The categories of an item that are read.
      max_attributes: The attributes of an item that are read.
      max_title_tokens: The words of a title that are read.
      id_dropout: How often training hides an item's id, so that the features
        alone have to do, as they must for items that training never saw.
      hidden_units: Widths of the layers that refine the sum of an item's parts; none
        leaves the sum as it is.
    """

    features: tuple[ItemFeature, ...] = (
        "categories",
        "attributes",
        "title",
        "price",
        "image_vector",
        "text_vector",
    )
    max_categories: int = Field(default=8, ge=1)
    max_attributes: int = Field(default=16, ge=1)
    max_title_tokens: int = Field(default=16, ge=1)
    id_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    hidden_units: tuple[int, ...] = ()
