"""Base of the models of query-item pairs: what pretraining and ranking have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from models.layers.multi_head_target_attention import MultiHeadTargetAttention
from models.lifelong.model import LifelongModel
from models.ranking.features import PageView
from models.seminar.channels import ChannelTower
from models.seminar.config import PairsConfig


class PairModel(LifelongModel):
    """A model of query-item pairs, and of an attention to them.

        pair[l] = alpha G_query q[l] + (1 - alpha) item[l],   item = sum_m g_m G_m e_m
        target  = the same of the request's query and the candidate

    An event without a query has the empty one, zeros; without queries in the log a pair is its
    item. See `models.ranking.interest.InterestModel` for the arguments.
    """

    model: PairsConfig
    tower = ChannelTower

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        dim, heads, items = self.model.dim, self.model.heads, self.features.items
        assert isinstance(items, ChannelTower)
        self.channels: ChannelTower = items
        self.attention = MultiHeadTargetAttention(heads, self.model.top_k, name="attention")
        self.beside = tf.keras.layers.Dense(heads, use_bias=False, name="beside")
        self.has_queries = self.features.use_event_query
        if self.has_queries:
            self.query_projection = tf.keras.layers.Dense(
                dim, use_bias=False, name="query_projection"
            )

    def pairs(self, view: PageView) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the pairs of candidates and of events, [I, d] and [P, L, d] float32."""
        if not self.has_queries:
            return view.candidate, view.items
        share = self.model.query_share
        events = share * self.query_projection(view.event_query) + (1.0 - share) * view.items
        return self.target(view), events

    def target(self, view: PageView) -> tf.Tensor:
        """Returns the pairs of candidates, [I, d] float32."""
        if not self.has_queries:
            return view.candidate
        share = self.model.query_share
        candidate = (1.0 - share) * view.candidate
        if view.query is not None:
            candidate += share * tf.gather(self.query_projection(view.query), view.row)
        return candidate

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
