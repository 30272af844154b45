"""SEMINAR: search-enhanced multi-modal interest network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from models.input import batch as b
from models.layers.multi_head_target_attention import MultiHeadTargetAttention
from models.lifelong.model import LifelongModel
from models.ranking.features import PageView
from models.ranking.model import PageEvaluation
from models.seminar.channels import ChannelTower
from models.seminar.config import SeminarConfig
from models.seminar.history_codes import HistoryCodes
from models.training.learner import Evaluation
from models.training.learner import Metrics

_CHUNK = 4_096  # items that are embedded at a time
_QUERIES = 1 << 17  # that codebooks are fitted on


class Seminar(LifelongModel):
    """Searches a history of query-item pairs for the pair that a request asks about.

        pair[l] = alpha G_query q[l] + (1 - alpha) item[l],   item = sum_m g_m G_m e_m
        target  = the same of the request's query and the candidate
        z       = each head's attention of the target to the K pairs that it scores highest

    An event without a query has the empty one, zeros; without queries in the log a pair is its
    item. What else an event has (type, value, age) is a bias of the search, as in TWIN. With
    `search: quantised` the search is by codes, which are fitted when training ends; what it
    finds is attended to by its vectors. See `models.ranking.interest.InterestModel` for the rest.
    """

    model: SeminarConfig
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
        self.codes = None
        if self.model.search == "quantised":
            self.codes = HistoryCodes(
                items.ids.size,
                len(items.channels),
                self.has_queries,
                dim,
                self.model.quantisation,
            )
            self.cells = heads * self.codes.entries
        self._is_coded = False  # until then the search is exact

    def pairs(self, view: PageView) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the pairs of candidates and of events, [I, d] and [P, L, d] float32."""
        if not self.has_queries:
            return view.candidate, view.items
        share = self.model.query_share
        events = share * self.query_projection(view.event_query) + (1.0 - share) * view.items
        candidate = (1.0 - share) * view.candidate
        if view.query is not None:
            candidate += share * tf.gather(self.query_projection(view.query), view.row)
        return candidate, events

    def attend(self, view: PageView) -> tf.Tensor:
        """Finds and attends: [I, d] float32; see the base class."""
        target, pairs = self.pairs(view)
        bias = None if view.about is None else self.beside(view.about)  # [P, L, H]
        search = None
        if self._is_coded:
            search = self._search_codes(view, target)
            if bias is not None:
                search += tf.transpose(bias, [0, 2, 1])[:, :, None]
        values = pairs if view.about is None else pairs + view.about
        return self.attention(target, pairs, view.mask, view.row, values, bias, search)

    def _search_codes(self, view: PageView, target: tf.Tensor) -> tf.Tensor:
        """Returns the scores of events by their codes, [P, H, C, L] float32."""
        assert self.codes is not None
        vectors = self.attention.search_vectors(target)  # [I, H, d]
        channels = self.channels.search_channels(vectors)  # [I, H, M, d]
        if self.has_queries:
            share = self.model.query_share
            query = tf.tensordot(vectors, self.query_projection.kernel, [[-1], [1]])
            channels = tf.concat([(1.0 - share) * channels, share * query[:, :, None]], axis=2)
        return self.codes.search(view, channels)

    def finish(self, evaluation: Evaluation) -> Metrics:
        """Codes the catalogue where the search is by codes, then calibrates."""
        assert isinstance(evaluation, PageEvaluation)
        if self.codes is not None:
            self.code_catalogue(evaluation.batches)
            evaluation = PageEvaluation(self, evaluation.batches)  # which scores by codes
        return super().finish(evaluation)

    def code_catalogue(self, batches: list[Mapping[str, tf.Tensor]]) -> None:
        """Fits codebooks on the model's embeddings, and searches by codes from then on.

        Args:
            batches: Pages, whose events have the queries that are fitted to.
        """
        assert self.codes is not None
        ids = np.arange(self.channels.ids.size)
        items = [self._embed_channels(part) for part in np.split(ids, ids[_CHUNK::_CHUNK])]
        queries = np.zeros([0, self.model.dim], np.float32)
        if self.has_queries:
            words = np.concatenate([_queries_of(batch) for batch in batches])
            chosen = np.random.default_rng(self.config.seed).permutation(len(words))[:_QUERIES]
            queries = self.features.words(tf.constant(words[chosen])).numpy()
        self.codes.fit(np.concatenate(items), queries, self.config.seed)
        self._is_coded = True

    def _embed_channels(self, ids: np.ndarray) -> np.ndarray:
        features = self.channels.look_up(tf.constant(ids, tf.int64))
        described = self.channels.describe(features)
        return self.channels.embed_channels(tf.constant(ids, tf.int64), described).numpy()


def _queries_of(batch: Mapping[str, tf.Tensor]) -> np.ndarray:
    """Returns the words of the queries that led to events, [n, Q] int64."""
    words = batch[b.HISTORY_QUERY]
    return tf.boolean_mask(words, tf.reduce_any(words > 0, axis=2)).numpy()
