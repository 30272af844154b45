"""Features of pages as vectors, for every ranking model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from models.input import batch as b
from models.input.catalogue import CatalogueTable
from models.input.page_batches import candidate_mask
from models.input.vocabulary_sizes import VocabularySizes
from models.layers.buckets import AGE_BUCKETS
from models.layers.buckets import age_bucket
from models.layers.candidate_tower import CandidateTower
from models.layers.embedding_bag import EmbeddingBag
from models.ranking.config import RankingModelConfig

_HOUR = 3_600_000_000  # microseconds
_VALUES = 16  # buckets of an event's value: rounded, 0 to 15


class PageView(NamedTuple):
    """The candidates of a batch of pages, flat, and what they are judged by.

    Attributes:
        row: [I] int64, the page of each candidate, ascending.
        ids: [I] int64, its entity; 0 is unknown.
        candidate: [I, d] float32.
        history: [B, T, d] float32, newest first.
        mask: [B, T] float32, 1 where there is an event of a known item.
        user: [B, u] float32: attributes, query and time of day; u may be 0.
    """

    row: tf.Tensor
    ids: tf.Tensor
    candidate: tf.Tensor
    history: tf.Tensor
    mask: tf.Tensor
    user: tf.Tensor


class PageFeatures(tf.keras.layers.Layer):
    """Embeds what a page is: its candidates, the events before it, the user and the request.

        candidate = E[id] + features(item)
        history   = the same of an event's item + type + value + age

    Every distinct item is embedded once.

    Args:
        config: What is read.
        sizes: Sizes of the vocabularies.
        table: Catalogue features by entity index.
        known: [V + 1] bool, which entities training has as candidates or in histories.
    """

    def __init__(
        self,
        config: RankingModelConfig,
        sizes: VocabularySizes,
        table: CatalogueTable,
        known: np.ndarray,
    ) -> None:
        super().__init__(name="features")
        self.config = config
        dim = config.dim
        self.items = CandidateTower(dim, config.candidate, sizes, table, known)
        embedding = tf.keras.layers.Embedding
        self.use_types = config.use_event_types and sizes.event_type > 2
        if self.use_types:
            self.types = embedding(sizes.event_type, dim, name="types")
        if config.use_event_values:
            self.values = embedding(_VALUES, dim, name="values")
        if config.use_time:
            self.ages = embedding(AGE_BUCKETS, dim, name="ages")
        if config.use_user_attributes:
            self.attributes = EmbeddingBag(sizes.user_attribute, dim, name="attributes")
        if config.use_query:
            self.words = EmbeddingBag(sizes.query_token, dim, name="words")
        if config.use_time_of_day:
            self.hours = embedding(24, dim, name="hours")
            self.days = embedding(7, dim, name="days")

    def call(
        self,
        batch: Mapping[str, tf.Tensor],
        features: Mapping[str, tf.Tensor] | None = None,
        training: bool = False,
    ) -> PageView:
        """Embeds pages.

        Args:
            batch: Pages by name (`models.input.batch`), B rows of C candidates.
            features: Features of the I candidates (`models.input.catalogue`), for items that
                the model's own catalogue lacks; looked up there when None.
            training: Whether ids are dropped at random.

        Returns:
            The I candidates that the pages have.
        """
        there = candidate_mask(batch)
        row = tf.where(there)[:, 0]  # [I]
        ids, events = tf.boolean_mask(batch[b.CANDIDATE_ENTITY], there), batch[b.HISTORY_ENTITY]
        wanted = tf.reshape(events, [-1])
        if features is None:
            wanted = tf.concat([ids, wanted], axis=0)
        distinct, position = tf.unique(wanted)
        described = self.items.describe(self.items.look_up(distinct))
        vectors = self.items.combine(distinct, described, training)  # [U, d]
        if features is None:
            candidate = tf.gather(vectors, position[: tf.size(ids)])
            position = position[tf.size(ids) :]
        else:
            candidate = self.items(features)
        history = tf.gather(vectors, tf.reshape(position, tf.shape(events)))  # [B, T, d]
        mask = tf.sequence_mask(batch[b.HISTORY_LENGTH], self.config.window) & (events > 0)
        return PageView(
            row,
            ids,
            candidate,
            history + self._about_events(batch),
            tf.cast(mask, tf.float32),
            self._about_request(batch),
        )

    def _about_events(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns what is added to the items of events: [B, T, d], or a scalar 0."""
        added = tf.zeros([])
        if self.use_types:
            added += self.types(batch[b.HISTORY_TYPE])
        if self.config.use_event_values:
            bucket = tf.cast(tf.round(batch[b.HISTORY_VALUE]), tf.int32)
            added += self.values(tf.clip_by_value(bucket, 0, _VALUES - 1))
        if self.config.use_time:
            added += self.ages(age_bucket(batch[b.HISTORY_AGE]))
        return added

    def _about_request(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns what is known of user and request, [B, u]."""
        parts = []
        if self.config.use_user_attributes:
            parts.append(self.attributes(batch[b.USER_ATTRIBUTES]))
        if self.config.use_query:
            parts.append(self.words(batch[b.QUERY_TOKENS]))
        if self.config.use_time_of_day:
            hours = batch[b.REQUEST_TIME] // _HOUR
            parts.append(self.hours(hours % 24) + self.days(hours // 24 % 7))
        rows = tf.shape(batch[b.HISTORY_LENGTH])[0]
        return tf.concat(parts, axis=1) if parts else tf.zeros([rows, 0])


def mean_of_history(view: PageView) -> tf.Tensor:
    """Returns the mean of each page's events, [B, d] float32; zeros where there is none."""
    number = tf.maximum(tf.reduce_sum(view.mask, axis=1, keepdims=True), 1.0)
    return tf.einsum("bt,btd->bd", view.mask, view.history) / number
