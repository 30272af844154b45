"""Configuration that every retrieval model has: how items become vectors and are scored."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from transforms.base_config import Config

ItemFeature = Literal["categories", "attributes", "title", "price", "image_vector", "text_vector"]


class CandidateTowerConfig(Config):
    """How an item becomes a vector.

    Attributes:
      features: The catalogue features that are read beside the id.
      max_categories: The categories of an item that are read.
      max_attributes: The attributes of an item that are read.
      max_title_tokens: The words of a title that are read.
      id_dropout: How often training hides an item's id, so that the features
        alone have to do, as they must for items that training never saw.
      hidden: Widths of the layers that refine the sum of an item's parts; none
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
    hidden: tuple[int, ...] = ()


class TowersConfig(Config):
    """What every retrieval model has.

    Attributes:
      dim: Length of an embedding.
      candidate: The candidate tower.
      tie_item_tables: Whether history items and candidates share one id table.
      history_features: Whether history items are read with their catalogue
        features, or by id alone.
      normalize: Whether both embeddings have length 1 before the temperature.
      temperature: What scores are divided by.
      learn_temperature: Whether training adjusts the temperature.
    """

    dim: int = Field(default=64, ge=1)
    candidate: CandidateTowerConfig = CandidateTowerConfig()
    tie_item_tables: bool = False
    history_features: bool = True
    normalize: bool = False
    temperature: float = Field(default=1.0, gt=0.0)
    learn_temperature: bool = False
