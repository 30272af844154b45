"""Search over several sources: the union of their candidates in the order of the combination."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from serving.index import files
from serving.index.candidates import CandidateIds
from serving.index.config import EVERY
from serving.index.searching.searcher import Searcher
from serving.index.searching.searcher import in_chunks
from serving.sources.candidates import contains
from serving.sources.candidates import source_bits
from serving.sources.candidates import unite
from serving.sources.combination import Settings
from serving.sources.features import bucket_of
from serving.sources.features import find_repeats
from serving.sources.features import make_features
from serving.sources.history import History
from serving.sources.history import NewestEvents
from serving.sources.history import newest_events
from serving.sources.tables import SourceTables
from transforms.availability import not_yet_available

_BUDGET = 1 << 24  # floats that a part of a batch may take


class Described(NamedTuple):
    """Candidates of requests with all that the combination reads.

    Attributes:
        rows: [B, U] int32, -1 in padding.
        features: [B, U, F] float32, in the order of `features.FEATURES`.
        sources: [B, U] int32, bits as in `candidates.SOURCES`; 0 in padding.
    """

    rows: tf.Tensor
    features: tf.Tensor
    sources: tf.Tensor


class JoinedSearch(tf.Module):
    """Unites the candidates of several sources, and scores each by every source.

    Args:
        searcher: Of the tower's candidates; it returns k or more, padded where fewer exist.
        tables: What the other sources know, aligned with the searcher's rows.
        settings: How many candidates of each, and how neighbours score.
        weights: [buckets, F] float32, the combination; None if nothing is searched yet.
        k: Results of a query; the tail is row -1 with score -inf when fewer exist.
    """

    def __init__(
        self,
        searcher: Searcher,
        tables: SourceTables,
        settings: Settings,
        weights: np.ndarray | None,
        k: int,
    ) -> None:
        super().__init__(name="joined_search")
        self.searcher = searcher
        self.settings = settings
        self.k = k
        self.others = CandidateIds(tables.others, "other_ids") if tables.others else None

        def constant(value: np.ndarray, name: str) -> tf.Variable:
            return tf.Variable(value, trainable=False, name=name)

        union = settings.union
        self.neighbours = constant(tables.neighbours, "neighbours")  # [N + C, m]
        self.neighbour_weights = constant(tables.weights, "neighbour_weights")  # [N + C, m]
        self.events = constant(tables.events, "events")  # [N]
        self.popular = constant(_popular(tables.events, union.popularity), "popular")  # [P]
        popular = np.zeros(len(tables.events), bool)
        popular[self.popular.numpy()] = True
        self.is_popular = constant(popular, "is_popular")  # [N]
        self.available_from = None
        if tables.available_from is not None:
            self.available_from = constant(tables.available_from, "available_from")  # [N]
            dated = np.flatnonzero(tables.available_from != files.ALWAYS)
            order = dated[np.argsort(tables.available_from[dated], kind="stable")]
            self.dated = constant(order.astype(np.int32), "dated")  # [D], the oldest first
            self.dates = constant(tables.available_from[order], "dates")  # [D]
        self.weights = None if weights is None else constant(weights.astype(np.float32), "weights")
        self._lists = settings.newest_events * tables.neighbours.shape[1]  # neighbours read

    def rows(self, names: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        """Returns rows of entities that may be no candidates: [B, T] string -> [B, T] int32.

        Args:
            names: `type:id`.
            candidates: [B, T] int32, their rows among the candidates, else -1.
        """
        if self.others is None:
            return candidates
        others = self.others.rows(names)
        return tf.where((candidates < 0) & (others >= 0), others + self.searcher.size, candidates)

    def search(
        self,
        embedded: dict[str, tf.Tensor],
        excluded: tf.Tensor,
        history: History,
        request_time: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the best candidates of each query, best first.

        Args:
            embedded: `embedding` and perhaps `weight`, as `Searcher.search` takes them.
            excluded: [B, M] int32, rows that must not be found; -1 is none.
            history: Of each user, with rows as `rows` returns them.
            request_time: [B] int64, microseconds; what is available later is not found.

        Returns:
            rows: [B, k] int32, -1 where nothing more was found.
            scores: [B, k] float32, finite where a row was found, else -inf.
            sources: [B, k] int32, bits of the sources that brought each.
        """
        rows, scores, sources = self._in_chunks(
            self._best, (tf.int32, tf.float32, tf.int32), embedded, excluded, history, request_time
        )
        shape = [None, self.k]
        return (
            tf.ensure_shape(rows, shape),
            tf.ensure_shape(scores, shape),
            tf.ensure_shape(sources, shape),
        )

    def describe(
        self,
        embedded: dict[str, tf.Tensor],
        excluded: tf.Tensor,
        history: History,
        request_time: tf.Tensor,
    ) -> Described:
        """Returns the united candidates and their features; the arguments are `search`'s."""
        types = (tf.int32, tf.float32, tf.int32)
        found = self._in_chunks(self._describe, types, embedded, excluded, history, request_time)
        return Described(*found)

    def _in_chunks(self, function, outputs, embedded, excluded, history, request_time):  # type: ignore[no-untyped-def]
        inputs = [excluded, *history, request_time, embedded["embedding"]]
        if "weight" in embedded:
            inputs.append(embedded["weight"])
        union, dim = self.settings.union, embedded["embedding"].shape[-1] or 1
        candidates = self.searcher.k + union.neighbours + union.popularity + union.freshness
        cells = 12 * self._lists + candidates * (dim + 3 * union.repeats + 200)
        return in_chunks(function, inputs, outputs, _BUDGET // cells)

    def _best(self, *inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        found = self._describe(*inputs)
        bucket = bucket_of(inputs[4])
        scores = tf.linalg.matvec(found.features, tf.gather(self.weights, bucket))  # [B, U]
        usable = (found.rows >= 0) & tf.math.is_finite(scores)
        scores, best = tf.math.top_k(tf.where(usable, scores, -np.inf), self.k)
        rows = tf.gather(tf.where(usable, found.rows, -1), best, batch_dims=1)
        sources = tf.gather(tf.where(usable, found.sources, 0), best, batch_dims=1)
        return rows, scores, sources

    def _describe(
        self,
        excluded: tf.Tensor,
        rows: tf.Tensor,
        events: tf.Tensor,
        timestamps: tf.Tensor,
        length: tf.Tensor,
        request_time: tf.Tensor,
        query: tf.Tensor,
        weight: tf.Tensor | None = None,
    ) -> Described:
        history = History(rows, events, timestamps, length)
        union = self.settings.union
        tower, _ = self.searcher.search(query, excluded, request_time, weight)  # [B, k']
        own, newest = self._newest(history)
        repeats = tf.where(own.rows < self.searcher.size, own.rows, -1)
        neighbours, weights = self._neighbours_of(newest.rows)  # [B, V], [B, V, 2]
        total = tf.reduce_sum(weights, axis=1, keepdims=True)
        there = (
            self._available(neighbours, request_time) >= 0
        )  # the others take no candidate's slot
        weights = tf.where(there[:, :, None], weights, 0.0)
        batch = tf.shape(length)[0]
        popular = tf.tile(self.popular[None], [batch, 1])
        fresh = self._fresh(request_time)
        found = unite(
            [tower, repeats, popular, fresh], neighbours, weights, excluded, union.neighbours
        )
        candidates = self._available(found.rows, request_time)
        at = tf.maximum(candidates, 0)
        again = find_repeats(candidates, own)
        described = make_features(
            self.searcher.score(query, candidates, weight),
            tf.math.divide_no_nan(found.weights, total),
            tf.gather(self.events, at),
            self._age(at, request_time),
            again,
            request_time,
        )
        named = (
            contains(candidates, tower),
            found.weights[:, :, 0] > 0.0,
            again.count > 0.0,
            tf.gather(self.is_popular, at),
            contains(candidates, fresh),
        )
        bits = tf.where(candidates >= 0, source_bits(named), 0)
        return Described(candidates, described, bits)

    def _newest(self, history: History) -> tuple[NewestEvents, NewestEvents]:
        """Returns the newest events whose items may come again, and those with neighbours."""
        repeats, counted = self.settings.union.repeats, self.settings.newest_events
        if EVERY not in self.settings.event_types:
            own = newest_events(history, repeats)
            return own, newest_events(history, counted, self.settings.event_types)
        every = newest_events(history, max(repeats, counted))
        return every.first(repeats), every.first(counted)

    def _neighbours_of(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Reads lists of the newest events: [B, L] rows -> [B, V] rows and [B, V, 2] weights.

        V is L m. The second weight is that of the newest event's neighbours, 0 for others.
        """
        steps = np.arange(self.settings.newest_events)
        decay = np.stack([np.float32(self.settings.decay) ** steps, steps == 0], 1)  # [L, 2]
        decay = tf.where((rows >= 0)[:, :, None], decay.astype(np.float32)[None], 0.0)
        at = tf.maximum(rows, 0)
        weights = tf.cast(tf.gather(self.neighbour_weights, at), tf.float32)  # [B, L, m]
        weights = weights[:, :, :, None] * decay[:, :, None, :]  # [B, L, m, 2]
        batch = tf.shape(rows)[0]
        found = tf.reshape(tf.gather(self.neighbours, at), [batch, self._lists])
        return found, tf.reshape(weights, [batch, self._lists, 2])

    def _fresh(self, request_time: tf.Tensor) -> tf.Tensor:
        """Returns what became available last before each request: [B] -> [B, F'] int32."""
        count = self.settings.union.freshness
        if self.available_from is None or not self.dates.shape[0]:
            return tf.fill([tf.shape(request_time)[0], 0], -1)
        moment = tf.where(request_time > 0, request_time, np.iinfo(np.int64).max)
        end = tf.searchsorted(self.dates, moment, side="right")  # [B]
        at = end[:, None] - 1 - tf.range(count)[None]
        return tf.where(at >= 0, tf.gather(self.dated, tf.maximum(at, 0)), -1)

    def _available(self, rows: tf.Tensor, request_time: tf.Tensor) -> tf.Tensor:
        if self.available_from is None:
            return rows
        moment = tf.gather(self.available_from, tf.maximum(rows, 0))
        return tf.where(not_yet_available(moment, request_time[:, None]), -1, rows)

    def _age(self, rows: tf.Tensor, request_time: tf.Tensor) -> tf.Tensor | None:
        if self.available_from is None:
            return None
        since = tf.gather(self.available_from, rows)
        known = (since != files.ALWAYS) & (request_time > 0)[:, None]
        return tf.where(known, request_time[:, None] - tf.where(known, since, 0), -1)


def _popular(events: np.ndarray, count: int) -> np.ndarray:
    """Returns the rows of the most frequent candidates, [N] int64 -> [P] int32."""
    return np.argsort(-events, kind="stable")[:count].astype(np.int32)
