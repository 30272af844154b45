"""The query tower: what a user did, as one vector."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from models.input.vocabulary_sizes import VocabularySizes
from models.layers.mlp import MLP
from models.two_tower.config import QueryTowerConfig
from models.two_tower.history_reader import HistoryReader
from models.two_tower.history_reader import request_bags


class QueryTower(HistoryReader):
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
        super().__init__(dim, config, sizes, config.window, name="query_tower")
        self.out = MLP(config.hidden_units, dim, config.dropout, name="out")
        self.request_bags = request_bags(dim, config, sizes)

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
        config = self.config
        vectors = self.item_dropout(vectors, training=training)
        # The newest events are gathered again rather than sliced off, whose gradient is dear.
        last = self.events(batch, vectors, index, config.last_items)  # [B, k, d]
        events = self.events(batch, vectors, index, config.window)  # [B, T, d]
        parts = self.parts(batch, events, last)
        parts += [bag(batch[name]) for name, bag in self.request_bags.items()]
        return self.out(tf.concat(parts, axis=1), training=training)
