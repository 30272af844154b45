"""The query tower: what a user did, as one vector."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from models.input import batch as b
from models.input.vocabulary_sizes import VocabularySizes
from models.layers.buckets import AGE_BUCKETS
from models.layers.buckets import LENGTH_BUCKETS
from models.layers.buckets import age_bucket
from models.layers.buckets import length_bucket
from models.layers.embedding_bag import EmbeddingBag
from models.layers.history_pooling import HistoryPooling
from models.layers.mlp import MLP
from models.two_tower.config import QueryTowerConfig


class QueryTower(tf.keras.layers.Layer):
    """Embeds a request: the history's poolings, its newest items, the user and the query.

        x[t] = dropout(item[t]) + type[t] + age[t]
        out  = MLP([x[0..k), pool_1(x), .., pool_H(x), length, user attributes, query words])

    with the poolings of `HistoryPooling`, whose content term compares events
    with the k newest ones, and an embedding of the history's length: a user of few events is
    answered more by what such users do. Padding counts as absent, so an empty history is
    answered from its length, the attributes and the query. Types are left out where the log
    has only one.

    Args:
        dim: d, length of an embedding.
        config: What is read.
        sizes: Sizes of the vocabularies.
    """

    def __init__(self, dim: int, config: QueryTowerConfig, sizes: VocabularySizes) -> None:
        super().__init__(name="query_tower")
        self.config = config
        self.dim = dim
        self.pool = HistoryPooling(config.heads, config.window, config.content_dim, name="pool")
        self.item_dropout = tf.keras.layers.Dropout(config.item_dropout)
        self.out = MLP(config.hidden_units, dim, config.dropout, name="out")
        self.lengths = tf.keras.layers.Embedding(LENGTH_BUCKETS, dim, name="lengths")
        self.use_types = config.use_event_types and sizes.event_type > 2
        if self.use_types:
            self.types = tf.keras.layers.Embedding(sizes.event_type, dim, name="types")
            self.type_bias = _bias(sizes.event_type, config.heads, "type_bias")
        if config.use_time:
            self.ages = tf.keras.layers.Embedding(AGE_BUCKETS, dim, name="ages")
            self.age_bias = _bias(AGE_BUCKETS, config.heads, "age_bias")
        if config.use_user_attributes:
            self.attributes = EmbeddingBag(sizes.user_attribute, dim, name="attributes")
        if config.use_query:
            self.words = EmbeddingBag(sizes.query_token, dim, name="words")

    def call(
        self,
        batch: Mapping[str, tf.Tensor],
        vectors: tf.Tensor,
        index: tf.Tensor,
        training: bool = False,
    ) -> tf.Tensor:
        """Embeds requests.

        Args:
            batch: Windows by name (`models.input.batch`), B rows.
            vectors: [U, d] float32, vectors of the distinct items of all windows.
            index: [B, T] int32, which of the vectors each event's item has.
            training: Whether dropout works.

        Returns:
            [B, d] float32.
        """
        config, newest = self.config, self.config.last_items
        known = tf.sequence_mask(batch[b.HISTORY_LENGTH], config.window)  # [B, T]
        vectors = self.item_dropout(vectors, training=training)
        # The newest events are gathered again rather than sliced off, whose gradient is dear.
        last = self._events(batch, vectors, index, newest)  # [B, k, d]
        last *= tf.cast(known[:, :newest, None], tf.float32)
        last = tf.reshape(last, [-1, newest * self.dim])
        events = self._events(batch, vectors, index, config.window)  # [B, T, d]
        pooled = self.pool(events, known, last if config.content_dim else None, self._bias(batch))
        length = self.lengths(length_bucket(batch[b.HISTORY_LENGTH]))
        parts = [last, tf.reshape(pooled, [-1, config.heads * self.dim]), length]
        if config.use_user_attributes:
            parts.append(self.attributes(batch[b.USER_ATTRIBUTES]))
        if config.use_query:
            parts.append(self.words(batch[b.QUERY_TOKENS]))
        return self.out(tf.concat(parts, axis=1), training=training)

    def _events(
        self, batch: Mapping[str, tf.Tensor], vectors: tf.Tensor, index: tf.Tensor, number: int
    ) -> tf.Tensor:
        """Returns the vectors of the newest events, [B, number, d]."""
        events = tf.gather(vectors, index[:, :number])
        if self.use_types:
            events += self.types(batch[b.HISTORY_TYPE][:, :number])
        if self.config.use_time:
            events += self.ages(age_bucket(batch[b.HISTORY_AGE][:, :number]))
        return events

    def _bias(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor | None:
        """Returns the biases of the poolings' weights, [B, T, H], if there are any."""
        biases = [self.type_bias(batch[b.HISTORY_TYPE])] if self.use_types else []
        if self.config.use_time:
            biases.append(self.age_bias(age_bucket(batch[b.HISTORY_AGE])))
        return tf.add_n(biases) if biases else None


def _bias(size: int, heads: int, name: str) -> tf.keras.layers.Embedding:
    return tf.keras.layers.Embedding(size, heads, embeddings_initializer="zeros", name=name)
