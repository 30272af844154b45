"""The parts of a query tower that read a history, and the request beside it."""

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
from models.two_tower.config import QueryTowerConfig


class HistoryReader(tf.keras.layers.Layer):
    """Makes vectors of events, and a few vectors of each history.

        x[t]  = item[t] + type[t] + age[t]
        parts = x[0..k), pool_1(x), .., pool_H(x), length
                or, where order does not count, sum_t x[t] / sqrt(n), length

    Args:
        dim: d, length of an embedding.
        config: What is read.
        sizes: Sizes of the vocabularies.
        window: T, the most events of a history.
    """

    def __init__(
        self, dim: int, config: QueryTowerConfig, sizes: VocabularySizes, window: int, name: str
    ) -> None:
        super().__init__(name=name)
        self.config = config
        self.dim = dim
        if config.use_order:
            self.pool = HistoryPooling(config.heads, window, config.content_dim, name="pool")
        self.item_dropout = tf.keras.layers.Dropout(config.item_dropout)
        self.lengths = tf.keras.layers.Embedding(LENGTH_BUCKETS, dim, name="lengths")
        self.use_types = config.use_event_types and sizes.event_type > 2
        if self.use_types:
            self.types = tf.keras.layers.Embedding(sizes.event_type, dim, name="types")
        if config.use_time:
            self.ages = tf.keras.layers.Embedding(AGE_BUCKETS, dim, name="ages")
        if self.use_types and config.use_order:
            self.type_bias = _bias(sizes.event_type, config.heads, "type_bias")
        if config.use_time and config.use_order:
            self.age_bias = _bias(AGE_BUCKETS, config.heads, "age_bias")

    def events(
        self, batch: Mapping[str, tf.Tensor], vectors: tf.Tensor, index: tf.Tensor, number: int
    ) -> tf.Tensor:
        """Makes vectors of the newest events.

        Args:
            batch: Windows by name (`models.input.batch`), B rows.
            vectors: [U, d] float32, vectors of the distinct items of all windows.
            index: [B, T] int32, which of the vectors each event's item has.
            number: n, at most T.

        Returns:
            [B, n, d] float32.
        """
        events = tf.gather(vectors, index[:, :number])
        if self.use_types:
            events += self.types(batch[b.HISTORY_TYPE][:, :number])
        if self.config.use_time:
            events += self.ages(age_bucket(batch[b.HISTORY_AGE][:, :number]))
        return events

    def valid(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Says which of the window's events there are: [B, T] bool."""
        return tf.sequence_mask(batch[b.HISTORY_LENGTH], tf.shape(batch[b.HISTORY_ENTITY])[1])

    def parts(
        self, batch: Mapping[str, tf.Tensor], events: tf.Tensor, last: tf.Tensor
    ) -> list[tf.Tensor]:
        """Makes the few vectors that stand for a history.

        Args:
            batch: Windows by name (`models.input.batch`), B rows.
            events: [B, T, d] float32.
            last: [B, k, d] float32, the newest of them.

        Returns:
            Of k d, H d and d columns, float32, of d and d where order does not count; zeros in all
            but the last where there is no event.
        """
        known, newest = self.valid(batch), self.config.last_items  # [B, T]
        length = self.lengths(length_bucket(batch[b.HISTORY_LENGTH]))
        if not self.config.use_order:
            number = tf.maximum(tf.reduce_sum(tf.cast(known, tf.float32), axis=1), 1.0)  # [B]
            weights = tf.cast(known, tf.float32) * tf.math.rsqrt(number)[:, None]
            return [tf.einsum("bt,btd->bd", weights, events), length]
        last *= tf.cast(known[:, :newest, None], tf.float32)
        last = tf.reshape(last, [-1, newest * self.dim])
        summary = last if self.config.content_dim else None
        pooled = self.pool(events, known, summary, self._pooling_bias(batch))
        return [last, tf.reshape(pooled, [-1, self.config.heads * self.dim]), length]

    def _pooling_bias(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor | None:
        """Returns the biases of the poolings' weights, [B, T, H], if there are any."""
        biases = [self.type_bias(batch[b.HISTORY_TYPE])] if self.use_types else []
        if self.config.use_time:
            biases.append(self.age_bias(age_bucket(batch[b.HISTORY_AGE])))
        return tf.add_n(biases) if biases else None


def request_bags(
    dim: int, config: QueryTowerConfig, sizes: VocabularySizes
) -> dict[str, EmbeddingBag]:
    """Makes what embeds a request beside its history, by what it reads (`models.input.batch`)."""
    bags = {}
    if config.use_user_attributes:
        bags[b.USER_ATTRIBUTES] = EmbeddingBag(sizes.user_attribute, dim, name="attributes")
    if config.use_query:
        bags[b.QUERY_TOKENS] = EmbeddingBag(sizes.query_token, dim, name="words")
    return bags


def _bias(size: int, heads: int, name: str) -> tf.keras.layers.Embedding:
    return tf.keras.layers.Embedding(size, heads, embeddings_initializer="zeros", name=name)
