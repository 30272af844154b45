"""SEMINAR: search-enhanced multi-modal interest network."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from models.input import batch as b
from models.layers.coarse_cells import CoarseCells
from models.lifelong.model import newest_events
from models.lifelong.model import some_events
from models.ranking.features import PageView
from models.ranking.features import event_mask
from models.ranking.model import PageEvaluation
from models.seminar.config import SeminarConfig
from models.seminar.history_codes import HistoryCodes
from models.seminar.pairs import PairModel
from models.training.learner import Evaluation
from models.training.learner import Metrics

_CHUNK = 4_096  # items that are embedded at a time
_QUERIES = 1 << 17  # that codebooks are fitted on


class Seminar(PairModel):
    """Searches a history of query-item pairs for the pair that a request asks about.

        z = each head's attention of the target to the K pairs that it scores highest

    What an event has beside its pair (type, value, age) is a bias of the search, as in TWIN. With
    `search: quantised` the search is by codes, with `coarse` it is among the events of some cells.
    Both are fitted when training ends; what is found is attended to by its vectors. See
    `models.seminar.pairs.PairModel` for target and pairs.

    Attributes:
        is_coded: Whether requests are searched by codes or cells; until these are fitted all of
            a history is searched, by vectors.
    """

    model: SeminarConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        dim, heads, items = self.model.dim, self.model.heads, self.channels
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
        self.coarse = None
        if self.model.coarse is not None:
            coarse = self.model.coarse
            given = (items.ids.size, dim, heads, coarse.cells, coarse.events, coarse.more_events)
            self.coarse = CoarseCells(*given, name="coarse_cells")
        self.is_coded = False

    def attend(self, view: PageView) -> tf.Tensor:
        """Finds and attends: [I, d] float32; see the base class."""
        search, whole = None, False
        target = self.pair(*self.target_parts(view), self.compared)
        bias = None if view.about is None else self.beside(view.about)
        if self.is_coded and self.codes is not None:
            vectors = self.attention.search_vectors(target)  # [I, H, d]
            search = self._search_codes(view, vectors)
            if bias is not None:
                search += tf.transpose(bias, [0, 2, 1])[:, :, None]
        elif self.is_coded and self.model.coarse is not None:
            whole = not self.model.coarse.top_k
        parts = self.event_parts(view)
        keys, values = self.pair(*parts, self.compared), self.pair(*parts)
        values = values if view.about is None else values + view.about
        return self.attention(target, keys, view.mask, view.row, values, bias, search, whole)

    @tf.autograph.experimental.do_not_convert
    def score(
        self,
        batch: Mapping[str, tf.Tensor],
        features: Mapping[str, tf.Tensor] | None = None,
    ) -> tf.Tensor:
        """Scores the candidates of requests: [I, H] float32; see the base class.

        With `coarse` only the newest events (`recent`) and those of the list are embedded.
        """
        if self.coarse is None or not self.is_coded:
            return super().score(batch, features)
        near = self.features(newest_events(batch, self.model.recent), features)
        listed = self.features.embed_events(self.shortlisted(batch, near))
        view = near._replace(context=self.features.context(batch, near.query), **listed)
        return self.judge(view, self.interest(view), self.mean(near))

    def shortlisted(self, batch: Mapping[str, tf.Tensor], view: PageView) -> dict[str, tf.Tensor]:
        """Keeps the events of the cells that the candidates attend to most.

        Args:
            batch: Pages by name (`models.input.batch`).
            view: Their candidates and queries.

        Returns:
            The pages with histories of the list, in any order.
        """
        assert self.coarse is not None
        target = self.pair(*self.target_parts(view), self.compared)
        queries = self.attention.queries(target)  # [I, H, d / H]
        if self.has_queries:
            queries *= 1.0 - self.model.query_share  # the items' share of pairs
        bias = None
        if view.about is not None:
            bias = self.features.about_events(batch, self.beside.kernel)  # [P, L, H]
        events, mask = batch[b.HISTORY_ENTITY], event_mask(batch)
        return some_events(batch, *self.coarse(queries, view.row, events, mask, bias))

    def _search_codes(self, view: PageView, vectors: tf.Tensor) -> tf.Tensor:
        """Returns the scores of events by their codes, [P, H, C, L] float32."""
        assert self.codes is not None
        channels = self.channels.search_channels(vectors)  # [I, H, M, d]
        if self.has_queries:
            share = self.model.query_share
            view = view._replace(event_query=self.compared_words(view.event_query))
            query = tf.tensordot(vectors, self.query_projection.kernel, [[-1], [1]])
            channels = tf.concat([(1.0 - share) * channels, share * query[:, :, None]], axis=2)
        return self.codes.search(view, channels)

    def finish(self, evaluation: Evaluation) -> Metrics:
        """Codes the catalogue where the search is by codes or cells, then calibrates."""
        assert isinstance(evaluation, PageEvaluation)
        if self.codes is not None or self.coarse is not None:
            metrics = self.code_catalogue(evaluation.batches)
            evaluation = PageEvaluation(self, evaluation.batches)  # which scores by codes
            return super().finish(evaluation) | metrics
        return super().finish(evaluation)

    def code_catalogue(self, batches: Iterable[Mapping[str, tf.Tensor]]) -> Metrics:
        """Fits codebooks and cells on the model's embeddings, and searches by them from then on.

        Embeddings of items are then a table, so that requests make none.

        Args:
            batches: Pages, whose events have the queries that are fitted to.

        Returns:
            `quantisation_error/<channel>` where there are codes: the share of a channel's variance
            that they lose.
        """
        metrics: Metrics = {}
        items, seed = self.embed_catalogue(), self.config.seed
        parts = np.split(items, range(_CHUNK, len(items), _CHUNK))
        vectors = np.concatenate([self.channels.fuse(part).numpy() for part in parts])
        self.channels.fold(vectors)
        scale = self.scale_of(tf.constant(vectors)).numpy()
        items, vectors = items * scale[:, None], vectors * scale  # as they are compared
        if self.codes is not None:
            queries = np.zeros([0, self.model.dim], np.float32)
            if self.has_queries:
                words = self.features.words(tf.constant(_sample_queries(batches, seed)))
                queries = self.compared_words(words).numpy()
            errors = self.codes.refresh(items, queries, seed, self.model.quantisation.refresh)
            names = [*self.channels.channels, *(["query"] if self.has_queries else [])]
            found = zip(names, errors.tolist(), strict=True)
            metrics = {f"quantisation_error/{name}": error for name, error in found}
        if self.coarse is not None:
            self.coarse.fit(vectors, self.attention.key.kernel.numpy(), seed)
        self.is_coded = True
        return metrics

    def fitted_weights(self) -> list[tf.Variable]:
        """Returns the codebooks and their error when they were fitted; see the base class."""
        if self.codes is None:
            return []
        return [self.codes.quantiser.codebooks, self.codes.fitted_error]

    def embed_catalogue(self) -> np.ndarray:
        """Returns the channels of all entities, [V + 1, M, d] float32."""
        ids = np.arange(self.channels.ids.size)
        parts = np.split(ids, ids[_CHUNK::_CHUNK])
        return np.concatenate([self.embed_channels(tf.constant(part)).numpy() for part in parts])


def _sample_queries(batches: Iterable[Mapping[str, tf.Tensor]], seed: int) -> np.ndarray:
    """Draws some of the queries that led to events: up to `_QUERIES`, [n, Q] int64 words."""
    generator = np.random.default_rng(seed)
    words, drawn = np.zeros([0, 0], np.int64), np.zeros([0])
    for batch in batches:
        given = batch[b.HISTORY_QUERY]
        found = tf.boolean_mask(given, tf.reduce_any(given > 0, axis=2)).numpy()
        words = np.concatenate([words.reshape(-1, found.shape[1]), found])
        drawn = np.concatenate([drawn, generator.random(len(found))])
        kept = np.argsort(drawn)[:_QUERIES]  # as each has a number, whatever comes later
        words, drawn = words[kept], drawn[kept]
    return words
