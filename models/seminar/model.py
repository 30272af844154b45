"""SEMINAR: search-enhanced multi-modal interest network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from models.input import batch as b
from models.layers.coarse_cells import CoarseCells
from models.ranking.features import PageView
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
            given = (items.ids.size, dim, self.model.coarse.cells, self.model.coarse.events)
            self.coarse = CoarseCells(*given, name="coarse_cells")
            self.cells = max(self.cells, heads * self.coarse.cells)
        self._is_coded = False  # until then all of a history is searched, by vectors

    def attend(self, view: PageView) -> tf.Tensor:
        """Finds and attends: [I, d] float32; see the base class."""
        search = None
        if self._is_coded:
            vectors = self.attention.search_vectors(self.target(view))  # [I, H, d]
            if self.coarse is not None:
                view = self._shortlisted(view, vectors)
            if self.codes is not None:
                search = self._search_codes(view, vectors)
        target, pairs = self.pairs(view)
        bias = self._bias(view)
        if search is not None and bias is not None:
            search += tf.transpose(bias, [0, 2, 1])[:, :, None]
        values = pairs if view.about is None else pairs + view.about
        return self.attention(target, pairs, view.mask, view.row, values, bias, search)

    def _bias(self, view: PageView) -> tf.Tensor | None:
        """Returns what events have in the search beside their pairs, [P, L, H] float32, or None."""
        return None if view.about is None else self.beside(view.about)

    def _shortlisted(self, view: PageView, vectors: tf.Tensor) -> PageView:
        """Keeps the events of the cells that the candidates attend to most."""
        assert self.coarse is not None
        if self.has_queries:
            vectors *= 1.0 - self.model.query_share
        return view.of_events(
            *self.coarse(vectors, view.row, view.events, view.mask, self._bias(view))
        )

    def _search_codes(self, view: PageView, vectors: tf.Tensor) -> tf.Tensor:
        """Returns the scores of events by their codes, [P, H, C, L] float32."""
        assert self.codes is not None
        channels = self.channels.search_channels(vectors)  # [I, H, M, d]
        if self.has_queries:
            share = self.model.query_share
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

    def code_catalogue(self, batches: list[Mapping[str, tf.Tensor]]) -> Metrics:
        """Fits codebooks and cells on the model's embeddings, and searches by them from then on.

        Args:
            batches: Pages, whose events have the queries that are fitted to.

        Returns:
            `quantisation_error/<channel>` where there are codes: the share of a channel's variance
            that they lose.
        """
        metrics: Metrics = {}
        items, seed = self.embed_catalogue(), self.config.seed
        if self.codes is not None:
            queries = np.zeros([0, self.model.dim], np.float32)
            if self.has_queries:
                words = np.concatenate([_queries_of(batch) for batch in batches])
                chosen = np.random.default_rng(seed).permutation(len(words))[:_QUERIES]
                queries = self.features.words(tf.constant(words[chosen])).numpy()
            errors = self.codes.refresh(items, queries, seed, self.model.quantisation.refresh)
            names = [*self.channels.channels, *(["query"] if self.has_queries else [])]
            found = zip(names, errors.tolist(), strict=True)
            metrics = {f"quantisation_error/{name}": error for name, error in found}
        if self.coarse is not None:
            parts = np.split(items, range(_CHUNK, len(items), _CHUNK))
            self.coarse.fit(np.concatenate([self.channels.fuse(part) for part in parts]), seed)
        self._is_coded = True
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


def _queries_of(batch: Mapping[str, tf.Tensor]) -> np.ndarray:
    """Returns the words of the queries that led to events, [n, Q] int64."""
    words = batch[b.HISTORY_QUERY]
    return tf.boolean_mask(words, tf.reduce_any(words > 0, axis=2)).numpy()
