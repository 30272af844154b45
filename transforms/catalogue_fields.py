"""Configuration of declared fields: vectors and tokens of catalogue rows, by name."""

from __future__ import annotations

import re

from pydantic import model_validator

from transforms import names
from transforms.base_config import Config

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class CatalogueFields(Config):
    """Fields of catalogue rows that an event log brings in tables of their own.

    A field `style` is read from `features/style/*.parquet` and becomes the raw feature
    `catalogue/vector/style` or `catalogue/token/style`; models name it `vector/style` or
    `token/style` in `candidate.features`. Names are lower-case letters, digits and `_`.

    Attributes:
        vectors: Length of each vector by name.
        tokens: Names of the fields of tokens: cluster ids, codes, tags; any number an item.
    """

    vectors: dict[str, int] = {}
    tokens: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the raw features, sorted."""
        vectors = (names.CATALOGUE_VECTOR + name for name in self.vectors)
        tokens = (names.CATALOGUE_TOKEN + name for name in self.tokens)
        return tuple(sorted((*vectors, *tokens)))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fields."""
        return (*self.vectors, *self.tokens)

    @model_validator(mode="after")
    def _check_names(self) -> CatalogueFields:
        for name in self.names:
            if not NAME.fullmatch(name):
                raise ValueError(
                    "A field is named by at most 64 lower-case letters, digits and `_`, of which "
                    f"the first is a letter. Received: {name!r}."
                )
            if self.names.count(name) > 1:
                raise ValueError(
                    f"`{name}` is declared twice; a field has either vectors or tokens. "
                    "Give one of them another name."
                )
        for name, length in self.vectors.items():
            if length < 1:
                raise ValueError(f"The length of `{name}` should be at least 1; it is {length}.")
        return self
