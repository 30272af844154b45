"""Configuration of what models read of catalogue items."""

from __future__ import annotations

from pydantic import Field
from pydantic import field_validator

from transforms import names
from transforms.base_config import Config
from transforms.nearest import nearest

ITEM_FEATURES = ("categories", "attributes", "title", "price", "image_vector", "text_vector")
VECTOR_FEATURES = ("image_vector", "text_vector")
LINKS = ("related",)  # other entities, such as the items that a video shows
DECLARED = tuple(
    prefix.removeprefix("catalogue/") for prefix in (names.CATALOGUE_VECTOR, names.CATALOGUE_TOKEN)
)


class CandidateTowerConfig(Config):
    """Configuration of the candidate tower.

    Attributes:
      features: The catalogue features that are read beside the id; those of declared fields
        (`transforms.catalogue_fields`) are `vector/<name>` and `token/<name>`.
        `related` are the entities that the item is linked to, say those that a video shows.
      max_categories: The categories of an item that are read.
      max_attributes: The attributes of an item that are read.
      max_title_tokens: The words of a title that are read.
      max_related: The linked entities of an item that are read.
      max_tokens: The tokens of each declared field that are read.
      id_dropout: How often training hides an item's id, so that the features
        alone have to do, as they must for items that training never saw.
      hidden_units: Widths of the layers that refine the sum of an item's parts; none
        leaves the sum as it is.
    """

    features: tuple[str, ...] = ITEM_FEATURES
    max_categories: int = Field(default=8, ge=1)
    max_attributes: int = Field(default=16, ge=1)
    max_title_tokens: int = Field(default=16, ge=1)
    max_related: int = Field(default=16, ge=1)
    max_tokens: int = Field(default=16, ge=1)
    id_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    hidden_units: tuple[int, ...] = ()

    @field_validator("features")
    @classmethod
    def _are_features(cls, features: tuple[str, ...]) -> tuple[str, ...]:
        for name in features:
            known = (*ITEM_FEATURES, *LINKS)
            if name not in known and not name.startswith(DECLARED):
                raise ValueError(
                    f"Expected names among {', '.join(known)}, or `vector/<name>` and "
                    f"`token/<name>` of declared fields. Received: "
                    f"`{name}`{nearest(name, known)}."
                )
        return features
