"""Configuration of Transform."""

from __future__ import annotations

from pydantic import Field
from pydantic import model_validator

from transforms.base_config import Config


class NgramConfig(Config):
    """Configuration of hashed n-grams, which tell what words no vocabulary has.

    Attributes:
        words: Lengths of the runs of words.
        characters: Lengths of the runs of characters of a word, its ends marked (`<hat>`).
        buckets: Indices, after the words', that the hash of an n-gram chooses from.
        limit: N-grams of a text that are kept, runs of words first.
    """

    words: tuple[int, ...] = (2,)
    characters: tuple[int, ...] = (3, 4)
    buckets: int = Field(default=1 << 16, ge=1)
    limit: int = Field(default=64, ge=1)

    @model_validator(mode="after")
    def _have_lengths(self) -> NgramConfig:
        if min((*self.words, *self.characters), default=0) < 1:
            raise ValueError(
                "`words` and `characters` should be lengths of 1 and more, at least one in all; "
                f"received {self.words} and {self.characters}."
            )
        return self


class TransformConfig(Config):
    """Configuration of Transform: which vocabularies there are and how large they grow.

    Attributes:
        target_events: The event types that may be training targets; `*` is all.
            The same as the example generator's.
        candidate_types: The entity types that may be training targets; `*` is all.
            The same as the example generator's.
        max_entities: The most frequent entities that get an index of their own.
        max_event_types: The same for event types.
        max_categories: The same for categories.
        max_attributes: The same for attributes of catalogue rows.
        max_user_attributes: The same for attributes of users.
        max_tokens: The same for tokens of each declared field.
        max_title_tokens: The same for words of titles.
        max_queries: The same for whole queries.
        max_query_tokens: The same for words of queries.
        query_oov_buckets: Indices, after the vocabulary's, that the hash of a
            whole query outside the vocabulary chooses from.
        min_token_count: Words of titles and queries seen less often are unknown.
        title_length: Words of a title that are kept.
        query_length: Words of a query that are kept.
        ngrams: Hashed n-grams of titles and queries, behind their words; none if null.
        text_encoder: A SavedModel that encodes titles as `catalogue/text_vector` of rows that have
            none; its `serving_default` takes [n] string and gives [n, dimension] float. n may
            be 0. Only an operation of TensorFlow's own runs in TF Serving.
        image_encoder: Likewise of encoded images as `catalogue/image_vector`.
        price_buckets: Quantile buckets of `catalogue/price_bucket`.
    """

    target_events: tuple[str, ...] = ("*",)
    candidate_types: tuple[str, ...] = ("*",)
    max_entities: int = Field(default=10_000_000, ge=1)
    max_event_types: int = Field(default=1_000, ge=1)
    max_categories: int = Field(default=100_000, ge=1)
    max_attributes: int = Field(default=200_000, ge=1)
    max_user_attributes: int = Field(default=100_000, ge=1)
    max_tokens: int = Field(default=200_000, ge=1)
    max_title_tokens: int = Field(default=200_000, ge=1)
    max_queries: int = Field(default=200_000, ge=1)
    max_query_tokens: int = Field(default=100_000, ge=1)
    query_oov_buckets: int = Field(default=1_024, ge=0)
    min_token_count: int = Field(default=1, ge=1)
    title_length: int = Field(default=32, ge=1)
    query_length: int = Field(default=16, ge=1)
    ngrams: NgramConfig | None = None
    text_encoder: str = ""
    image_encoder: str = ""
    price_buckets: int = Field(default=20, ge=2)
