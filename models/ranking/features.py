"""Features of pages as vectors, for every ranking model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from models.input import batch as b
from models.input.catalogue import CatalogueTable
from models.input.page_batches import candidate_mask
from models.input.vocabulary_sizes import VocabularySizes
from models.layers.buckets import AGE_BUCKETS
from models.layers.buckets import VALUE_BUCKETS
from models.layers.buckets import age_bucket
from models.layers.buckets import value_bucket
from models.layers.candidate_tower import CandidateTower
from models.layers.embedding_bag import EmbeddingBag
from models.layers.repeats import Repeats
from models.layers.repeats import find_repeats
from models.ranking.config import RankingModelConfig

_HOUR = 3_600_000_000  # microseconds


class PageView(NamedTuple):
    """The candidates of a batch of pages, flat, and what they are judged by.

    Attributes:
        row: [I] int64, the page of each candidate, ascending.
        ids: [I] int64, its entity; 0 is unknown.
        candidate: [I, d] float32.
        catalogue: The candidates' catalogue features (`models.input.catalogue`), [I, width] each.
        events: [B, T] int64, the entities of the history, newest first.
        items: [B, T, d] float32, their vectors.
        mask: [B, T] float32, 1 where there is an event of a known item.
        about: [B, T, d] float32, what type, value and age add to the items; None where none
            of these is read.
        event_query: [B, T, d] float32, the query that led to each event, zeros for none; None
            where it is not read.
        query: [B, d] float32, the query of the request; None where it is not read.
        context: [I, u] float32: the user's attributes, query, time of day, and what the history
            has of the candidate itself; u may be 0.
    """

    row: tf.Tensor
    ids: tf.Tensor
    candidate: tf.Tensor
    catalogue: Mapping[str, tf.Tensor]
    events: tf.Tensor
    items: tf.Tensor
    mask: tf.Tensor
    about: tf.Tensor | None
    event_query: tf.Tensor | None
    query: tf.Tensor | None
    context: tf.Tensor

    @property
    def history(self) -> tf.Tensor:
        """Events as one vector each, [B, T, d] float32: items, what is about them and queries."""
        parts = (self.items, self.about, self.event_query)
        return tf.add_n([part for part in parts if part is not None])

    @property
    def beside(self) -> tf.Tensor | None:
        """What events have beside their items, [B, T, d] float32, or None."""
        parts = [part for part in (self.about, self.event_query) if part is not None]
        return tf.add_n(parts) if parts else None

    def of_pages(self, start: tf.Tensor, end: tf.Tensor) -> PageView:
        """Returns the pages from `start` to before `end`, which count from 0 there."""
        first, last = tf.unstack(tf.searchsorted(self.row, [start, end]))

        def of_candidates(values: tf.Tensor) -> tf.Tensor:
            return values[first:last]

        def of_histories(values: tf.Tensor | None) -> tf.Tensor | None:
            return None if values is None else values[start:end]

        return PageView(
            row=of_candidates(self.row) - start,
            ids=of_candidates(self.ids),
            candidate=of_candidates(self.candidate),
            catalogue={name: of_candidates(values) for name, values in self.catalogue.items()},
            events=self.events[start:end],
            items=self.items[start:end],
            mask=self.mask[start:end],
            about=of_histories(self.about),
            event_query=of_histories(self.event_query),
            query=of_histories(self.query),
            context=of_candidates(self.context),
        )


class PageFeatures(tf.keras.layers.Layer):
    """Embeds what a page is: its candidates, the events before it, the user and the request.

        candidate = E[id] + features(item)
        history   = the same of an event's item + type + value + age + words of its query

    Every distinct item is embedded once. Types and queries that the log lacks have no weights.

    Args:
        config: What is read.
        sizes: Sizes of the vocabularies.
        table: Catalogue features by entity index.
        known: [V + 1] bool, which entities training has as candidates or in histories.
        tower: Makes the vectors of items.
    """

    def __init__(
        self,
        config: RankingModelConfig,
        sizes: VocabularySizes,
        table: CatalogueTable,
        known: np.ndarray,
        tower: type[CandidateTower] = CandidateTower,
    ) -> None:
        super().__init__(name="features")
        self.config = config
        dim = config.dim
        self.items = tower(dim, config.candidate, sizes, table, known)
        embedding = tf.keras.layers.Embedding
        self.use_types = config.use_event_types and sizes.event_type > 2
        if self.use_types:
            self.types = embedding(sizes.event_type, dim, name="types")
        if config.use_event_values:
            self.values = embedding(VALUE_BUCKETS, dim, name="values")
        if config.use_time:
            self.ages = embedding(AGE_BUCKETS, dim, name="ages")
        if config.use_user_attributes:
            self.attributes = EmbeddingBag(sizes.user_attribute, dim, name="attributes")
        # The vocabulary of a log without words has a line, too.
        self.use_event_query = config.use_event_query and sizes.query_token > 2
        if config.use_query or self.use_event_query:
            self.words = EmbeddingBag(sizes.query_token, dim, name="words")
        if config.use_time_of_day:
            self.hours = embedding(24, dim, name="hours")
            self.days = embedding(7, dim, name="days")
        if config.use_repeats:
            self.repeats = Repeats(dim)

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
        ids, wanted = tf.boolean_mask(batch[b.CANDIDATE_ENTITY], there), batch[b.HISTORY_ENTITY]
        wanted = tf.reshape(wanted, [-1])
        if features is None:
            vectors = self.items.embed(tf.concat([ids, wanted], axis=0), training)
            features = self.items.look_up(ids)
            candidate, items = tf.split(vectors, [tf.size(ids), tf.size(wanted)])
        else:
            candidate, items = self.items(features), self.items.embed(wanted, training)
        query = self.words(batch[b.QUERY_TOKENS]) if self.config.use_query else None
        return PageView(
            row=row,
            ids=ids,
            candidate=candidate,
            catalogue=features,
            query=query,
            context=self.context(batch, query),
            **self._of_events(batch, items),
        )

    def embed_events(self, batch: Mapping[str, tf.Tensor]) -> dict[str, Any]:
        """Embeds histories alone: the fields of a `PageView` that are of events."""
        return self._of_events(batch, self.items.embed(tf.reshape(batch[b.HISTORY_ENTITY], [-1])))

    def _of_events(self, batch: Mapping[str, tf.Tensor], items: tf.Tensor) -> dict[str, Any]:
        """Returns the fields of events, with the vectors of their items as [B T, d]."""
        events = batch[b.HISTORY_ENTITY]
        return {
            "events": events,
            "items": tf.reshape(items, tf.concat([tf.shape(events), [self.config.dim]], axis=0)),
            "mask": event_mask(batch),
            "about": self.about_events(batch),
            "event_query": self._queries_of_events(batch) if self.use_event_query else None,
        }

    def about_events(
        self, batch: Mapping[str, tf.Tensor], kernel: tf.Tensor | None = None
    ) -> tf.Tensor | None:
        """Embeds what events have beside their items and queries: type, value and age.

        Args:
            batch: As in `call`.
            kernel: [d, n] float32 that the sum is multiplied with; it is folded into the tables,
                so that an event costs n numbers. Only once the tables exist.

        Returns:
            [B, T, d] float32, or [B, T, n] with a kernel; None where none of these is read.
        """
        read = []
        if self.use_types:
            read.append((self.types, batch[b.HISTORY_TYPE]))
        if self.config.use_event_values:
            read.append((self.values, value_bucket(batch[b.HISTORY_VALUE])))
        if self.config.use_time:
            read.append((self.ages, age_bucket(batch[b.HISTORY_AGE])))
        if kernel is None:
            added = [layer(index) for layer, index in read]
        else:
            added = [tf.gather(layer.embeddings @ kernel, index) for layer, index in read]
        return tf.add_n(added) if added else None

    def _queries_of_events(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns the queries that led to events, [B, T, d]; zeros where there was none."""
        words = batch[b.HISTORY_QUERY]  # [B, T, Q]
        vectors = self.words(tf.reshape(words, [-1, words.shape[2]]))
        shape = tf.concat([tf.shape(words)[:2], [self.config.dim]], axis=0)
        return tf.reshape(vectors, shape)

    def context(self, batch: Mapping[str, tf.Tensor], query: tf.Tensor | None) -> tf.Tensor:
        """Embeds what is known beside a candidate's item and the events, [I, u] float32.

        Args:
            batch: As in `call`.
            query: [B, d] float32, the query of the request; None where it is not read.
        """
        there = candidate_mask(batch)
        row = tf.where(there)[:, 0]  # [I]
        parts = []
        if self.config.use_user_attributes:
            parts.append(tf.gather(self.attributes(batch[b.USER_ATTRIBUTES]), row))
        if query is not None:
            parts.append(tf.gather(query, row))
        if self.config.use_time_of_day:
            hours = batch[b.REQUEST_TIME] // _HOUR
            parts.append(tf.gather(self.hours(hours % 24) + self.days(hours // 24 % 7), row))
        if self.config.use_repeats:
            parts.append(tf.boolean_mask(self._repeats_of_candidates(batch), there))
        return tf.concat(parts, axis=1) if parts else tf.zeros([tf.size(row), 0])

    def _repeats_of_candidates(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns what histories have of the candidates themselves, [B, C, d] float32."""
        events = tf.cast(event_mask(batch), tf.int64) * batch[b.HISTORY_ENTITY]
        found = find_repeats(batch[b.CANDIDATE_ENTITY], events)
        newest = {  # of each candidate; zeros where there is none
            name: tf.gather(tf.pad(batch[name], [[0, 0], [0, 1]]), found.newest, batch_dims=1)
            for name in (b.HISTORY_TYPE, b.HISTORY_VALUE, b.HISTORY_AGE)
            if name in batch
        }
        return self.repeats(found, self.about_events(newest))


def event_mask(batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Returns which events are of a known item, [B, T] float32."""
    events = batch[b.HISTORY_ENTITY]
    there = tf.sequence_mask(batch[b.HISTORY_LENGTH], tf.shape(events)[1])
    return tf.cast(there & (events > 0), tf.float32)


def mean_of_history(view: PageView) -> tf.Tensor:
    """Returns the mean of each page's events, [B, d] float32; zeros where there is none."""
    number = tf.maximum(tf.reduce_sum(view.mask, axis=1, keepdims=True), 1.0)
    return tf.einsum("bt,btd->bd", view.mask, view.history) / number
