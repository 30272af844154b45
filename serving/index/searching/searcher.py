"""Base of the search backends: batches in bounded memory, masks, the merge."""

from __future__ import annotations

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
        query = tf.cast(query, tf.float32)
        if query.shape.rank not in (2, 3):
            raise ValueError(f"Query embeddings are [B, d] or [B, K, d]; received {query.shape}.")
        usable = tf.reduce_all(tf.math.is_finite(query), axis=-1, keepdims=True)
        query = tf.where(usable, query, 0.0)  # a broken query finds nothing, below
        usable = tf.reduce_all(tf.reshape(usable, [tf.shape(query)[0], -1]), axis=1)  # [B]
        if weight is not None:
            usable &= tf.reduce_all(tf.math.is_finite(weight) & (weight >= 0.0), axis=1)
        rows, scores = self._in_chunks(query, excluded, request_time, weight)
        real = tf.math.is_finite(scores) & usable[:, None]  # [B, found]
        gap = [[0, 0], [0, self.k - self.found]]
        rows = tf.pad(tf.where(real, rows, -1), gap, constant_values=-1)
        scores = tf.pad(tf.where(real, scores, -np.inf), gap, constant_values=-np.inf)
        return tf.ensure_shape(rows, [None, self.k]), tf.ensure_shape(scores, [None, self.k])

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
        batch = tf.shape(query)[0]
        interests = query.shape[1] if query.shape.rank == 3 else 1
        cells = self._cells * (interests or 1)
        chunk = max(1, self._budget // max(1, cells))
        chunks = tf.maximum(1, -(-batch // chunk))
        all_rows = tf.TensorArray(tf.int32, chunks, infer_shape=False, element_shape=[None, None])
        all_scores = tf.TensorArray(
            tf.float32, chunks, infer_shape=False, element_shape=[None, None]
        )

        def one(
            i: tf.Tensor, rows_so_far: tf.TensorArray, scores_so_far: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.TensorArray, tf.TensorArray]:
            part = slice(i * chunk, tf.minimum(batch, (i + 1) * chunk))
            rows, scores = self.search_chunk(
                query[part],
                excluded[part],
                request_time[part],
                None if weight is None else weight[part],
            )
            return i + 1, rows_so_far.write(i, rows), scores_so_far.write(i, scores)

        _, all_rows, all_scores = tf.while_loop(
            lambda i, *_: i < chunks, one, [0, all_rows, all_scores], parallel_iterations=1
        )
        shape = [batch, self.found]
        return tf.reshape(all_rows.concat(), shape), tf.reshape(all_scores.concat(), shape)


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
