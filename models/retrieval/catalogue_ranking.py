"""Exact ranking of the whole catalogue, fast enough to leave on in training."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from models.input import batch as b
from models.layers.mixture import Queries
from models.layers.mixture import score_items
from models.retrieval.retriever import Retriever
from transforms.availability import not_yet_available

_BUDGET = 16_000_000  # scores held at once


def rank_targets(
    queries: Queries,
    candidates: tf.Tensor,
    targets: tf.Tensor,
    seen: tf.Tensor,
    cut: int,
    unavailable: tf.Tensor | None = None,
) -> tf.Tensor:
    """Ranks targets among all candidates that a user may be shown, as far as the first `cut`.

    A rank is the position in the exact list: by descending score, earlier rows first among equals.

    Args:
        queries: [B, d] float32, [B, K, d], of which the best counts, or a mixture.
        candidates: [N, d] float32.
        targets: [B, M] int64 rows of the candidates, -1 where there is none.
        seen: [B, S] int64 rows of the candidates, -1 where there is none.
        cut: Length of the list.
        unavailable: [B, N] bool, candidates that a user is not shown besides; None for none.

    Returns:
        [B, M] int64, 0 is the top; N for a target that is not in the list: missing, seen,
        unavailable, further down, or with a score that is not finite.
    """
    scores = score_items(queries, candidates)  # [B, N]
    # A diverged model ranks nothing, and NaN has no place in an order.
    hidden = tf.math.is_nan(scores) if unavailable is None else tf.math.is_nan(scores) | unavailable
    scores = tf.where(hidden, -np.inf, scores)
    user, number = tf.range(tf.shape(scores)[0])[:, None], tf.shape(scores, tf.int64)[1]
    pairs = tf.stack([tf.broadcast_to(tf.cast(user, tf.int64), tf.shape(seen)), seen], axis=2)
    pairs = tf.boolean_mask(pairs, seen >= 0)  # [n, 2]
    lowest = tf.fill([tf.shape(pairs)[0]], -np.inf)
    best, rows = _first(tf.tensor_scatter_nd_update(scores, pairs, lowest), cut)  # [B, cut]
    shown = tf.where(tf.math.is_finite(best), rows, -2)
    at = tf.equal(shown[:, None, :], targets[:, :, None])  # [B, M, cut]
    return tf.where(tf.reduce_any(at, axis=2), tf.argmax(at, axis=2), number)


def _first(scores: tf.Tensor, cut: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the best `cut` of [B, N] in order, and their rows: [B, cut] each, or [B, N].

    They are all in the `cut` blocks of the highest maxima, so that one pass of maxima over all
    scores leaves few to be ordered: N / block maxima and cut * block scores.
    """
    number = tf.shape(scores)[1]
    size = 1 + tf.cast(tf.sqrt(tf.cast(number, tf.float32) / cut), tf.int32)
    blocks = -(-number // size)
    scores = tf.pad(scores, [[0, 0], [0, blocks * size - number]], constant_values=-np.inf)
    scores = tf.reshape(scores, [-1, blocks, size])
    _, block = tf.math.top_k(tf.reduce_max(scores, axis=2), tf.minimum(cut, blocks))
    block = tf.sort(block, axis=1)  # earlier rows first among equals
    near = tf.gather(scores, block, batch_dims=1)  # [B, P, size]
    near = tf.reshape(near, [tf.shape(near)[0], tf.shape(block)[1] * size])
    best, position = tf.math.top_k(near, tf.minimum(cut, number))
    rows = tf.gather(block, position // size, batch_dims=1) * size + position % size
    return best, tf.cast(rows, tf.int64)


def ranking_metrics(ranks: np.ndarray, present: np.ndarray, k: Sequence[int]) -> dict[str, float]:
    """Averages ranking metrics over users.

    HR@K is the share of users with a target among the first K, recall@K the share of
    a user's targets there (of K, when the user has more), NDCG@K weighs ranks by
    1 / log2(2 + rank), MRR@K is the mean of 1 / (1 + the best rank), 0 beyond the first K.
    They are those of the evaluation (`tfx_pipeline.evaluation.metrics.ranking_sums`).

    Args:
        ranks: [U, M] int, 0 is the top.
        present: [U, M] bool, which of them are targets; every user has one.
        k: Cut-offs.

    Returns:
        `hr@K`, `recall@K`, `ndcg@K` and `mrr@K` for each cut-off.
    """
    counts = present.sum(axis=1)
    best = np.where(present, ranks, np.iinfo(np.int64).max).min(axis=1)
    metrics = {}
    for cut in k:
        hits = (ranks < cut) & present
        gains = np.where(hits, 1.0 / np.log2(ranks + 2.0), 0.0).sum(axis=1)
        ideal = np.cumsum([1.0 / math.log2(position + 2.0) for position in range(cut)])
        reachable = np.minimum(counts, cut)
        metrics[f"hr@{cut}"] = float(hits.any(axis=1).mean())
        metrics[f"recall@{cut}"] = float((hits.sum(axis=1) / reachable).mean())
        metrics[f"ndcg@{cut}"] = float((gains / ideal[reachable - 1]).mean())
        metrics[f"mrr@{cut}"] = float(np.where(best < cut, 1.0 / (1.0 + best), 0.0).mean())
    return metrics


class CatalogueRanking:
    """Ranks the held-out targets of timelines among all candidates.

    Args:
        batches: Batches of `models.input.target_batches.evaluation_batches`.
        candidates: [N] int64, the entity indices that may be recommended.
        size: V + 1, the greatest entity index plus one.
        k: Cut-offs of the metrics.
        users: At most so many timelines are ranked; 0 ranks all.
        available_from: [V + 1] int64, microseconds by entity index: what comes later than a
            request is not ranked for it, as it is not served. None if all always are.

    Raises:
        ValueError: No timeline has a held-out target.
    """

    def __init__(
        self,
        batches: Iterable[Mapping[str, tf.Tensor]],
        candidates: np.ndarray,
        size: int,
        k: Sequence[int] = (10, 50),
        users: int = 0,
        available_from: np.ndarray | None = None,
    ) -> None:
        self._candidates = np.asarray(candidates, np.int64)
        rows = np.full([size], -1, np.int64)
        rows[self._candidates] = np.arange(self._candidates.size)
        rows[0] = -1
        self._rows = tf.constant(rows)
        self._available_from = None
        if available_from is not None:
            self._available_from = tf.constant(available_from[self._candidates])
        self._batches = _limited(batches, users)
        if not any(tf.reduce_any(batch[b.TARGET_NUMBER] > 0) for batch in self._batches):
            raise ValueError(
                "Expected held-out targets in the split `validation`, found none. Users need three "
                "events for a leave-last-out split; for a time-cut, move `validation_start`."
            )
        self._k = tuple(k)

    def evaluate(
        self,
        embed_queries: Callable[[Mapping[str, tf.Tensor]], Queries],
        embed_items: Callable[[tf.Tensor], tf.Tensor],
        without_history: bool = False,
    ) -> dict[str, float]:
        """Embeds the catalogue once and every history, and ranks.

        A target outside the candidates, or unknown, is a miss at every cut-off.

        Args:
            embed_queries: Maps a batch to B queries.
            embed_items: Maps [n] int64 entity indices to [n, d] float32.
            without_history: Whether every user is ranked for as one of whom no
                event is known.

        Returns:
            The metrics of `ranking_metrics`, and `users`, how many were ranked.
        """
        chunks = np.array_split(self._candidates, max(1, self._candidates.size // 65_536))
        candidates = tf.concat([embed_items(tf.constant(chunk)) for chunk in chunks], axis=0)
        step = max(1, _BUDGET // max(1, self._candidates.size))
        ranks, present = [], []
        for batch in self._batches:
            batch = _without_history(batch) if without_history else batch
            queries = embed_queries(batch)
            targets, numbers = batch[b.TARGET_ENTITY], batch[b.TARGET_NUMBER]
            seen = tf.zeros([tf.shape(targets)[0], 0], tf.int64)
            rows = queries, targets, batch.get(b.SEEN_ENTITY, seen), batch[b.REQUEST_TIME]
            for start in range(0, targets.shape[0], step):
                part = slice(start, start + step)
                shown = tf.nest.map_structure(lambda values, part=part: values[part], rows)
                ranks.append(self._rank(candidates, *shown))
                present.append(tf.sequence_mask(numbers[part], targets.shape[1]).numpy())
        width = max((part.shape[1] for part in present), default=1)
        every = np.concatenate([_widened(part.numpy(), width) for part in ranks])
        where = np.concatenate([_widened(part, width) for part in present])
        kept = where.any(axis=1)
        metrics = ranking_metrics(every[kept], where[kept], self._k)
        return metrics | {"users": float(kept.sum())}

    def evaluate_popularity(
        self, counts: np.ndarray, without_history: bool = False
    ) -> dict[str, float]:
        """Ranks by how often each entity, [V + 1], was a target: what every model has to beat."""
        table = tf.constant(counts, tf.float32)
        return self.evaluate(
            lambda batch: tf.ones([tf.shape(batch[b.TARGET_ENTITY])[0], 1]),
            lambda ids: tf.gather(table, ids)[:, None],
            without_history,
        )

    def embed_one(
        self,
        embed_queries: Callable[[Mapping[str, tf.Tensor]], Queries],
        embed_items: Callable[[tf.Tensor], tf.Tensor],
    ) -> None:
        """Embeds one query and one item, which makes the weights of a model that has none yet."""
        embed_queries({name: values[:1] for name, values in self._batches[0].items()})
        embed_items(tf.constant(self._candidates[:1]))

    @tf.function(reduce_retracing=True)
    @tf.autograph.experimental.do_not_convert
    def _rank(
        self,
        candidates: tf.Tensor,
        queries: Queries,
        targets: tf.Tensor,
        seen: tf.Tensor,
        time: tf.Tensor,
    ) -> tf.Tensor:
        targets, seen = tf.gather(self._rows, targets), tf.gather(self._rows, seen)
        unavailable = None
        if self._available_from is not None:
            unavailable = not_yet_available(self._available_from[None, :], time[:, None])  # [B, N]
        return rank_targets(queries, candidates, targets, seen, max(self._k), unavailable)


def _without_history(batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Returns the same requests without an event, of the window or seen."""
    return {
        name: tf.zeros_like(values) if name.startswith(b.HISTORY_PREFIXES) else values
        for name, values in batch.items()
    }


class ModelRanking:
    """Ranks the validation split by a model as it is.

    Args:
        model: Embeds queries and items.
        ranking: The held-out targets and the candidates.
        counts: [V + 1], how often each entity is a training target.
    """

    def __init__(self, model: Retriever, ranking: CatalogueRanking, counts: np.ndarray) -> None:
        self._ranking = ranking
        self._counts = counts
        self._embed_queries = tf.function(model.embed_queries, reduce_retracing=True)
        self._embed_items = tf.function(model.embed_items, reduce_retracing=True)
        self._model = model

    def evaluate(self) -> dict[str, float]:
        """Returns the metrics of `CatalogueRanking.evaluate`."""
        return self._ranking.evaluate(self._embed_queries, self._embed_items)

    def report(self) -> dict[str, Any]:
        """Returns popularity's metrics, and both where all users are asked without history."""
        ranking = self._ranking
        return {
            "most_popular": ranking.evaluate_popularity(self._counts),
            "without_history": {
                "best": ranking.evaluate(
                    self._embed_queries, self._embed_items, without_history=True
                ),
                "most_popular": ranking.evaluate_popularity(self._counts, without_history=True),
            },
        }

    def run_one(self) -> None:
        """Embeds one query and one item, which makes the weights of a model that has none yet."""
        self._ranking.embed_one(self._model.embed_queries, self._model.embed_items)


def _widened(values: np.ndarray, width: int) -> np.ndarray:
    return np.pad(values, [(0, 0), (0, width - values.shape[1])])


def _limited(
    batches: Iterable[Mapping[str, tf.Tensor]], users: int
) -> list[Mapping[str, tf.Tensor]]:
    """Holds the batches in memory, up to a number of rows."""
    held, rows = [], 0
    for batch in batches:
        size = int(tf.shape(batch[b.TARGET_ENTITY])[0])
        if users and rows + size > users:
            batch = {name: values[: users - rows] for name, values in batch.items()}
        held.append(batch)
        rows += size
        if users and rows >= users:
            break
    return held
