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
    its candidates; of the events that nobody finds no vector is made for a candidate. Where K is
    no less than L there is nothing to find.

    Args:
        heads: H; they divide the dimension.
        top_k: K.
        kernel_initializer: Of the four projections. With `identity` a head's scores start as
            products of its d / H components of the vectors, its output as the mean of these of
            the values by the weights.

    Raises:
        ValueError: (when built) The heads do not divide the dimension.
    """

    def __init__(
        self,
        heads: int = 4,
        top_k: int = 50,
        kernel_initializer: str = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.heads = heads
        self.top_k = top_k
        self.kernel_initializer = kernel_initializer

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
            start = self.kernel_initializer
            layer = tf.keras.layers.Dense(dim, use_bias=False, kernel_initializer=start, name=name)
            with tf.name_scope(name):
                layer.build([None, dim])  # none is made within a branch
            return layer

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
        whole: bool = False,
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
            whole: Whether K is L, as for events that another search has found.

        Returns:
            [I, d] float32; zeros where nothing is found, as in an empty history.
        """
        values, place = events if values is None else values, places(row, tf.shape(mask)[0])
        length = events.shape[1]
        if whole or (length is not None and length <= self.top_k):
            read = self._attend_to_all(candidate, events, mask, values, bias, search, place)
        else:
            read = self._find_and_attend(candidate, events, mask, values, bias, search, place)
        return self.output_projection(of_candidates(join_heads(read), place))

    def _find_and_attend(
        self,
        candidate: tf.Tensor,
        events: tf.Tensor,
        mask: tf.Tensor,
        values: tf.Tensor,
        bias: tf.Tensor | None,
        search: tf.Tensor | None,
        place: tf.Tensor,
    ) -> tf.Tensor:
        """Attends to the K events of the best scores: [P, H, C, c] float32; see `call`."""
        query = by_page(self.query(candidate) * self._scale, place, tf.shape(mask)[0])
        (query,) = split_heads(query, 1, self.heads)  # [P, H, C, c]
        (key,) = split_heads(self.key(events), 1, self.heads)  # [P, H, L, c]
        (value,) = split_heads(self.value(values), 1, self.heads)
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
        return tf.einsum("phck,phckd->phcd", weights, tf.gather(value, found, batch_dims=2))

    def _attend_to_all(
        self,
        candidate: tf.Tensor,
        events: tf.Tensor,
        mask: tf.Tensor,
        values: tf.Tensor,
        bias: tf.Tensor | None,
        search: tf.Tensor | None,
        place: tf.Tensor,
    ) -> tf.Tensor:
        """Attends to all events: [P, H, C, c] float32; see `call`.

        Of few candidates the projections are folded into these, which spares those of events:
        2 C H L d multiplications in place of 2 L d^2 + 2 C L d.
        """
        pages, dim = tf.shape(mask)[0], values.shape[2]
        there = mask[:, None, None] > 0.0
        if search is not None:
            there = there & (search > tf.float32.min)
        something = tf.cast(tf.reduce_any(there, axis=-1, keepdims=True), tf.float32)

        def weigh(logits: tf.Tensor) -> tf.Tensor:
            if bias is not None:
                logits += tf.transpose(bias, [0, 2, 1])[:, :, None]
            return tf.nn.softmax(tf.where(there, logits, -1e9))  # [P, H, C, L]

        def of_few() -> tf.Tensor:
            vectors = tf.reshape(self.search_vectors(candidate), [-1, self.heads * dim])
            (vectors,) = split_heads(by_page(vectors, place, pages), 1, self.heads)
            weights = weigh(tf.matmul(vectors, events[:, None], transpose_b=True))
            read = tf.matmul(weights, values[:, None])  # [P, H, C, d]
            kernel = tf.reshape(self.value.kernel, [dim, self.heads, dim // self.heads])
            return tf.einsum("phcd,dhk->phck", read, kernel)

        def of_many() -> tf.Tensor:
            query = by_page(self.query(candidate) * self._scale, place, pages)
            (query,) = split_heads(query, 1, self.heads)  # [P, H, C, c]
            (key,) = split_heads(self.key(events), 1, self.heads)  # [P, H, L, c]
            (value,) = split_heads(self.value(values), 1, self.heads)
            return tf.matmul(weigh(tf.matmul(query, key, transpose_b=True)), value)

        most = tf.reduce_max(tf.concat([place[:, 1] + 1, [0]], axis=0))  # C
        return something * tf.cond(most * (self.heads - 1) < dim, of_few, of_many)

    def search_vectors(self, candidate: tf.Tensor) -> tf.Tensor:
        """Folds the projections into the candidates, so that events need none to be scored.

        Args:
            candidate: [I, d] float32.

        Returns:
            [I, H, d] float32, whose products with events are the scores less the bias. Only
            once the layer was called, which makes its weights.
        """
        dim = candidate.shape[1]
        key = tf.reshape(self.key.kernel, [dim, self.heads, dim // self.heads])
        return tf.einsum("ihc,dhc->ihd", self.queries(candidate), key)

    def queries(self, candidate: tf.Tensor) -> tf.Tensor:
        """Returns what candidates [I, d] multiply keys with, scaled: [I, H, d / H] float32."""
        width = candidate.shape[1] // self.heads
        return tf.reshape(self.query(candidate) * self._scale, [-1, self.heads, width])

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {
            "heads": self.heads,
            "top_k": self.top_k,
            "kernel_initializer": self.kernel_initializer,
        }


def best_events(
    search: tf.Tensor, mask: tf.Tensor, top_k: int | tf.Tensor, in_order: bool = True
) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the events of the greatest scores, without gradients.

    Args:
        search: [P, S, C, L] float32; the least float32 is never found.
        mask: [P, L] float32, 1 where there is an event.
        top_k: K; all events of shorter histories are found.
        in_order: Whether the best come first.

    Returns:
        [P, S, C, K] int32, their positions, and [P, S, C, K] bool, which of them are events.
    """
    never = tf.float32.min
    search = tf.stop_gradient(tf.where(mask[:, None, None] > 0.0, search, never))
    best, index = tf.math.top_k(search, tf.minimum(top_k, tf.shape(mask)[1]), sorted=in_order)
    return index, best > never
