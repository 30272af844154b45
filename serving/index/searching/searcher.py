"""Base of the search backends: batches in bounded memory, masks, the merge."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from transforms.availability import not_yet_available


class Searcher(tf.Module):
    """Finds the best candidates by dot product, with plain TensorFlow operations.

    Args:
        name: Of the module.
        size: N, the number of candidates.
        k: Results of a query; the tail is row -1 with score -inf when fewer exist.
        available_from: [N] int64, microseconds, or None when nothing is hidden.
        cells: Floats that one query of one vector needs at once; batches are
            cut so that about `budget` floats are held, or as many as there are
            candidates where all are scored.
        budget: See `cells`.
    """

    def __init__(
        self,
        name: str,
        size: int,
        k: int,
        available_from: np.ndarray | None,
        cells: int,
        budget: int = 1 << 26,
    ) -> None:
        super().__init__(name=name)
        if k < 1:
            raise ValueError(f"k has to be at least 1, and is {k}.")
        self.size = size
        self.k = k
        self.found = min(k, size)  # results that can exist
        self.dated = available_from is not None
        self._cells = cells
        self._budget = budget

    def search(
        self,
        query: tf.Tensor,
        excluded: tf.Tensor,
        request_time: tf.Tensor,
        weight: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the best candidates of each query, best first.

        Args:
            query: [B, d] float32, or [B, K, d] for K interests.
            excluded: [B, M] int32, rows that must not be found; -1 is none.
            request_time: [B] int64, microseconds; candidates that become
                available later are not found. 0 or less finds all of them.
            weight: [B, K] float32 of a mixture of K interests, or None for
                the best of them; see `combine`.

        Returns:
            rows: [B, k] int32, -1 where nothing more was found.
            scores: [B, k] float32, finite where a row was found, else -inf.
        """
        query, usable = _usable(query, weight)
        rows, scores = self._in_chunks(query, excluded, request_time, weight)
        real = tf.math.is_finite(scores) & usable[:, None]  # [B, found]
        gap = [[0, 0], [0, self.k - self.found]]
        rows = tf.pad(tf.where(real, rows, -1), gap, constant_values=-1)
        scores = tf.pad(tf.where(real, scores, -np.inf), gap, constant_values=-np.inf)
        return tf.ensure_shape(rows, [None, self.k]), tf.ensure_shape(scores, [None, self.k])

    def score(
        self, query: tf.Tensor, rows: tf.Tensor, weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Scores given candidates, as `search` does.

        Args:
            query: As of `search`.
            rows: [B, U] int32; any score where a row is negative.
            weight: As of `search`.

        Returns:
            [B, U] float32, NaN for a query that is not finite.
        """
        query, usable = _usable(query, weight)
        vectors = self.vectors_at(tf.maximum(rows, 0))  # [B, U, d]
        if query.shape.rank == 3:
            scores = combine(tf.einsum("bkd,bud->bku", query, vectors), weight)
        else:
            scores = tf.linalg.matvec(vectors, query)  # [B, U]
        return tf.where(usable[:, None], scores, np.nan)

    def vectors_at(self, rows: tf.Tensor) -> tf.Tensor:
        """Looks vectors of candidates up: [B, U] int32 -> [B, U, d] float32."""
        raise NotImplementedError

    def search_chunk(
        self,
        query: tf.Tensor,
        excluded: tf.Tensor,
        request_time: tf.Tensor,
        weight: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Searches one chunk of a batch; see `search`. Returns [B, found] rows and scores."""
        raise NotImplementedError

    def _in_chunks(
        self,
        query: tf.Tensor,
        excluded: tf.Tensor,
        request_time: tf.Tensor,
        weight: tf.Tensor | None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        interests = query.shape[1] if query.shape.rank == 3 else 1
        cells = self._cells * (interests or 1)
        inputs = (query, excluded, request_time) + (() if weight is None else (weight,))
        rows, scores = in_chunks(
            self.search_chunk, inputs, (tf.int32, tf.float32), self._budget // max(1, cells)
        )
        shape = [tf.shape(query)[0], self.found]
        return tf.reshape(rows, shape), tf.reshape(scores, shape)


def in_chunks(
    function: Callable[..., tuple[tf.Tensor, ...]],
    inputs: Sequence[tf.Tensor],
    outputs: Sequence[tf.DType],
    rows: int,
) -> list[tf.Tensor]:
    """Calls a function with parts of a batch, one after the other, to bound its memory.

    Args:
        function: Takes and returns tensors of [b, ...].
        inputs: Tensors of [B, ...].
        outputs: Types of what the function returns.
        rows: Rows of a part at most; 1 if it is less.

    Returns:
        What the function returned, concatenated to [B, ...].
    """
    batch, rows = tf.shape(inputs[0])[0], max(1, rows)
    chunks = tf.maximum(1, -(-batch // rows))
    arrays = [tf.TensorArray(kind, chunks, infer_shape=False) for kind in outputs]

    def one(i: tf.Tensor, *so_far: tf.TensorArray) -> tuple[Any, ...]:
        part = slice(i * rows, tf.minimum(batch, (i + 1) * rows))
        found = function(*(values[part] for values in inputs))
        return i + 1, *(array.write(i, one) for array, one in zip(so_far, found, strict=True))

    _, *arrays = tf.while_loop(lambda i, *_: i < chunks, one, [0, *arrays], parallel_iterations=1)
    return [array.concat() for array in arrays]


def _usable(query: tf.Tensor, weight: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns queries with zeros in place of what is not finite, and which are whole: [B] bool."""
    query = tf.cast(query, tf.float32)
    if query.shape.rank not in (2, 3):
        raise ValueError(f"Query embeddings are [B, d] or [B, K, d]; received {query.shape}.")
    usable = tf.reduce_all(tf.math.is_finite(query), axis=-1, keepdims=True)
    query = tf.where(usable, query, 0.0)
    usable = tf.reduce_all(tf.reshape(usable, [tf.shape(query)[0], -1]), axis=1)  # [B]
    if weight is not None:
        usable &= tf.reduce_all(tf.math.is_finite(weight) & (weight >= 0.0), axis=1)
    return query, usable


def mask_columns(scores: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Sets the named columns of each row to -inf.

    Args:
        scores: [B, N] float32.
        columns: [B, M] int32; negative ones name nothing.

    Returns:
        [B, N] float32.
    """
    named = columns >= 0
    row = tf.broadcast_to(tf.range(tf.shape(columns)[0])[:, None], tf.shape(columns))
    index = tf.stack([row, tf.where(named, columns, 0)], axis=-1)  # [B, M, 2]
    # The minimum with +inf changes nothing: that is what a padded column does.
    return tf.tensor_scatter_nd_min(scores, index, tf.where(named, -np.inf, np.inf))


def hide_later(scores: tf.Tensor, available_from: tf.Tensor, request_time: tf.Tensor) -> tf.Tensor:
    """Sets scores of candidates that are not available yet to -inf.

    Args:
        scores: [B, ...] float32.
        available_from: int64, microseconds, broadcastable to `scores`.
        request_time: [B, 1, ...] int64 of the rank of `scores`; 0 or less hides nothing.
    """
    return tf.where(not_yet_available(available_from, request_time), -np.inf, scores)


def combine(scores: tf.Tensor, weight: tf.Tensor | None) -> tf.Tensor:
    """Makes one score of those of K interests.

    Without weights a candidate's best score counts. With weights w the scores
    s are logits, and the mixture's is log sum_k w_k exp(s_k) (a mixture of
    softmaxes, Yang et al. 2018, whose normalisers are taken as equal).

    Args:
        scores: [B, K, N] float32.
        weight: [B, K] float32, not negative, or None.

    Returns:
        [B, N] float32.
    """
    if weight is None:
        return tf.reduce_max(scores, axis=1)
    return tf.reduce_logsumexp(scores + tf.math.log(weight)[:, :, None], axis=1)


def merge_interests(rows: tf.Tensor, scores: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Merges what several interests found; of a row's scores the best counts.

    Args:
        rows: [B, M] int32; the same row may come several times.
        scores: [B, M] float32.
        k: At most M.

    Returns:
        [B, k] int32 and float32, best first, each row once.
    """
    scores, order = tf.math.top_k(scores, tf.shape(scores)[1])
    rows = tf.gather(rows, order, batch_dims=1)  # best first
    order = tf.argsort(rows, axis=1, stable=True)
    rows = tf.gather(rows, order, batch_dims=1)
    scores = tf.gather(scores, order, batch_dims=1)
    first = tf.pad(rows[:, 1:] != rows[:, :-1], [[0, 0], [1, 0]], constant_values=True)
    scores, order = tf.math.top_k(tf.where(first, scores, -np.inf), k)
    return tf.gather(rows, order, batch_dims=1), scores
