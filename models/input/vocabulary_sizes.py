"""Sizes of the vocabularies that a model embeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from transforms import features as f
from transforms import names

if TYPE_CHECKING:
    import tensorflow_transform as tft


@dataclasses.dataclass(frozen=True)
class VocabularySizes:
    """For each vocabulary its greatest index plus one; index 0 is unknown or none.

    Attributes:
        entity: Entities, V + 1.
        event_type: Types of events.
        category: Categories of items.
        attribute: Attributes of items.
        title_token: Words of titles, and buckets of their n-grams.
        user_attribute: Attributes of users.
        query_token: Words of queries, likewise.
        declared: Tokens of each declared field, by `token/<name>`.
    """

    entity: int
    event_type: int = 1
    category: int = 1
    attribute: int = 1
    title_token: int = 1
    user_attribute: int = 1
    query_token: int = 1
    declared: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, transform: tft.TFTransformOutput) -> VocabularySizes:
        """Reads the sizes of the vocabularies that Transform wrote."""

        def size(name: str) -> int:
            return int(transform.vocabulary_size_by_name(name)) + 1

        def text_size(name: str, feature: str) -> int:
            words = size(name)
            if words <= 2:  # the vocabulary of a log without words has a line, too
                return words
            return int(transform.num_buckets_for_transformed_feature(feature))

        tokens = names.declared_tokens(transform.transformed_feature_spec())
        return cls(
            entity=size(names.ENTITY),
            event_type=size(names.EVENT_TYPE),
            category=size(names.CATEGORY),
            attribute=size(names.ATTRIBUTE),
            title_token=text_size(names.TITLE_TOKEN, f.CATALOGUE_TITLE),
            user_attribute=size(names.USER_ATTRIBUTE),
            query_token=text_size(names.QUERY_TOKEN, names.EVENT_QUERY_TOKENS),
            declared={
                feature.removeprefix("catalogue/"): size(name) for feature, name in tokens.items()
            },
        )
