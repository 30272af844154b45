"""Base of the models of query-item pairs: what pretraining and ranking have in common."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from models.lifelong.model import SearchModel
from models.ranking.features import PageView
from models.seminar.channels import ChannelTower
from models.seminar.config import PairsConfig


class PairModel(SearchModel):
    """A model of query-item pairs, and of an attention to them.

        pair[l] = alpha G_query q[l] + (1 - alpha) item[l],   item = sum_m g_m G_m e_m
        target  = the same of the request's query and the candidate

    An event without a query has the empty one, zeros; without queries in the log a pair is its
    item. With `normalise` the attention compares alpha n(G_query q) + (1 - alpha) n(item), where
    n(x) = x / sqrt(mean(x^2) + eps); it reads pairs as they are. See
    `models.ranking.interest.InterestModel` for the arguments.
    """

    model: PairsConfig
    tower = ChannelTower

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        dim, heads, items = self.model.dim, self.model.heads, self.features.items
        assert isinstance(items, ChannelTower)
        self.channels: ChannelTower = items
        self.beside = tf.keras.layers.Dense(heads, use_bias=False, name="beside")
        self.has_queries = self.features.use_event_query
        if self.has_queries:
            self.query_projection = tf.keras.layers.Dense(
                dim, use_bias=False, name="query_projection"
            )

    def target_parts(self, view: PageView) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns items and projected queries of the pairs that are asked about.

        Args:
            view: I candidates.

        Returns:
            [I, d] float32, and the same or None where the pages have no queries; see `pair`.
        """
        if not self.has_queries or view.query is None:
            return view.candidate, None
        return view.candidate, tf.gather(self.query_projection(view.query), view.row)

    def event_parts(self, view: PageView) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns those of P histories of L events, [P, L, d] float32; see `target_parts`."""
        return view.items, self.query_projection(view.event_query) if self.has_queries else None

    def pair(
        self,
        items: tf.Tensor,
        queries: tf.Tensor | None,
        scale: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
    ) -> tf.Tensor:
        """Returns the pairs of items and projected queries, all [..., d] float32.

        Args:
            items: [..., d] float32.
            queries: The same, or None where there are none.
            scale: Scales items and queries: `compared` for what the attention compares, nothing
                for what it reads.
        """
        if not self.has_queries:
            return scale(items)
        share = self.model.query_share
        pairs = (1.0 - share) * scale(items)
        return pairs if queries is None else pairs + share * scale(queries)

    def compared_words(self, words: tf.Tensor) -> tf.Tensor:
        """Scales the sums of queries' words [..., d] as their projections are compared."""
        return words * self.scale_of(self.query_projection(words))

    def embed_channels(self, ids: tf.Tensor) -> tf.Tensor:
        """Embeds the channels of [N] distinct int64 entities: [N, M, d] float32."""
        return self.channels.embed_channels(ids, self.channels.describe(self.channels.look_up(ids)))

    def parts(self) -> Mapping[str, list[tf.Variable]]:
        """Returns the weights that pretraining makes, by the parts that may be frozen.

        `embeddings` are the tables by id, token, type, value and age, `vectors` the linear maps
        of the catalogue's vectors, `projections` the maps G and the gate, `attention` those of
        search and attention.
        """
        features, items = self.features, self.channels.features
        tables = [self.channels.ids, *items.bags.values()]
        tables += [items.price, items.bucket] if items.has_price else []
        names = ("types", "values", "ages", "words")
        tables += [getattr(features, name) for name in names if hasattr(features, name)]
        projections = list(self.channels.projections)
        projections += [self.query_projection] if self.has_queries else []
        layers = {
            "embeddings": tables,
            "vectors": list(items.vectors.values()),
            "projections": projections,
            "attention": [self.attention, self.beside],
        }
        found = {
            name: [weight for layer in some for weight in layer.trainable_weights]
            for name, some in layers.items()
        }
        found["projections"].append(self.channels.gate)
        return found
