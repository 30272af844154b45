"""Attention of a candidate over the events of a long history that it finds."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.layers.heads import join_heads
from models.layers.heads import split_heads
from models.layers.page_layout import by_page
from models.layers.page_layout import of_candidates
from models.layers.page_layout import places


class MultiHeadTargetAttention(tf.keras.layers.Layer):
    r"""Each head finds the K events that a candidate scores highest, and attends to these.

        a_h[l] = (W_Q^h c) . (W_K^h s[l]) / sqrt(d / H) + b_h[l]
        found  = the K events of the greatest a_h            (general search unit)
        out    = W_O [ sum_{l in found} softmax(a_h)[l] W_V^h v[l] ]_h      (exact search unit)

    The search may be by other scores, which are given. It has no gradient of its own, for the
    attention has the same projections, which so learn to search (TWIN, Chang et al. 2023,
    https://arxiv.org/abs/2302.02352). Keys are projected and scored once a page, for all of
    its candidates; of the events that nobody finds no vector is made for a candidate.

    Args:
        heads: H; they divide the dimension.
        top_k: K.

    Raises:
        ValueError: (when built) The heads do not divide the dimension.
    """

    def __init__(self, heads: int = 4, top_k: int = 50, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads = heads
        self.top_k = top_k

    def build(self, input_shape: Any) -> None:
        """Creates the projections; d is the width of the candidate."""
        dim = input_shape[-1]
        if dim % self.heads:
            raise ValueError(
                f"`heads` should divide the dimension, received {self.heads} heads and "
                f"{dim} dimensions."
            )
        self._scale = (dim // self.heads) ** -0.5

        def dense(name: str) -> tf.keras.layers.Dense:
            return tf.keras.layers.Dense(dim, use_bias=False, name=name)

        self.query, self.key = dense("query"), dense("key")
        self.value, self.output_projection = dense("value"), dense("output")
        super().build(input_shape)

    def call(
        self,
        candidate: tf.Tensor,
        events: tf.Tensor,
        mask: tf.Tensor,
        row: tf.Tensor,
        values: tf.Tensor | None = None,
        bias: tf.Tensor | None = None,
        search: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Searches and attends to the history of each candidate's page.

        Args:
            candidate: [I, d] float32.
            events: [P, L, d] float32, what is searched.
            mask: [P, L] float32, 1 where there is an event.
            row: [I] int64, the page of each candidate, ascending.
            values: [P, L, d] float32, what is averaged; the events when None.
            bias: [P, L, H] float32, added to the scores of events.
            search: [P, H or 1, C, L] float32, what is searched by, with the candidates of each
                page in a row (`models.layers.page_layout`); the least float32 is never found.
                The attention's own scores when None.

        Returns:
            [I, d] float32; zeros where nothing is found, as in an empty history.
        """
        pages = tf.shape(mask)[0]
        place = places(row, pages)
        query = by_page(self.query(candidate) * self._scale, place, pages)
        (query,) = split_heads(query, 1, self.heads)  # [P, H, C, c]
        (key,) = split_heads(self.key(events), 1, self.heads)  # [P, H, L, c]
        (value,) = split_heads(self.value(events if values is None else values), 1, self.heads)
        odds = None if bias is None else tf.transpose(bias, [0, 2, 1])  # [P, H, L]
        if search is None:
            search = tf.matmul(query, key, transpose_b=True)  # [P, H, C, L]
            search = search if odds is None else search + odds[:, :, None]
        found, there = best_events(search, mask, self.top_k)
        found = tf.repeat(found, self.heads // found.shape[1], axis=1)  # [P, H, C, K]
        logits = tf.einsum("phcd,phckd->phck", query, tf.gather(key, found, batch_dims=2))
        if odds is not None:
            logits += tf.gather(odds, found, batch_dims=2)
        weights = tf.nn.softmax(tf.where(there, logits, -1e9)) * tf.cast(there, tf.float32)
        read = tf.einsum("phck,phckd->phcd", weights, tf.gather(value, found, batch_dims=2))
        return self.output_projection(of_candidates(join_heads(read), place))

    def search_vectors(self, candidate: tf.Tensor) -> tf.Tensor:
        """Folds the projections into the candidates, so that events need none to be scored.

        Args:
            candidate: [I, d] float32.

        Returns:
            [I, H, d] float32, whose products with events are the scores less the bias. Only
            once the layer was called, which makes its weights.
        """
        dim = candidate.shape[1]
        query = tf.reshape(self.query(candidate) * self._scale, [-1, self.heads, dim // self.heads])
        key = tf.reshape(self.key.kernel, [dim, self.heads, dim // self.heads])
        return tf.einsum("ihc,dhc->ihd", query, key)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {"heads": self.heads, "top_k": self.top_k}


def best_events(search: tf.Tensor, mask: tf.Tensor, top_k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the events of the greatest scores, without gradients.

    Args:
        search: [P, S, C, L] float32; the least float32 is never found.
        mask: [P, L] float32, 1 where there is an event.
        top_k: K; all events of shorter histories are found.

    Returns:
        [P, S, C, K] int32, their positions, and [P, S, C, K] bool, which of them are events.
    """
    never = tf.float32.min
    search = tf.stop_gradient(tf.where(mask[:, None, None] > 0.0, search, never))
    best, index = tf.math.top_k(search, tf.minimum(top_k, tf.shape(mask)[1]))
    return index, best > never
