"""Histories as codes: the catalogue's, the queries', and the search by them."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.layers.page_layout import by_page
from models.layers.page_layout import places
from models.layers.product_quantisation import ProductQuantiser
from models.layers.product_quantisation import look_up_scores
from models.ranking.features import PageView
from models.seminar.config import QuantisationConfig

_CHUNK = 4_096  # items that are coded at a time
_NEGLIGIBLE = 1e-3  # error of a channel that fits all but exactly


class HistoryCodes(tf.keras.layers.Layer):
    """Scores the events of histories by the codes of their items and queries.

        a_h[l] ~= sum over channels m and sub-vectors b of T_h[m, b][code[l, m, b]]

    with the tables T of a candidate: its products with all centroids. Codes of items are a
    table by entity. Queries are coded in the graph, as long as requests carry their words.

    Args:
        items: V + 1, the greatest entity index plus one.
        channels: Channels of an item.
        has_queries: Whether events have queries, a channel more, the last one.
        dim: d.
        config: The codes.
    """

    def __init__(
        self, items: int, channels: int, has_queries: bool, dim: int, config: QuantisationConfig
    ) -> None:
        super().__init__(name="history_codes")
        self.has_queries = has_queries
        self.channels = channels
        self.quantiser = ProductQuantiser(
            channels + has_queries, dim, config.sub_vectors, config.centroids, name="quantiser"
        )
        self.codes = self.add_weight(
            name="codes",
            shape=[items, channels, config.sub_vectors],
            dtype=self.quantiser.code_dtype,
            initializer="zeros",
            trainable=False,
        )
        self.fitted_error = self.add_weight(
            name="fitted_error",
            shape=[channels + has_queries],
            initializer="zeros",
            trainable=False,
        )

    @property
    def entries(self) -> int:
        """Entries of the tables of a candidate and a head."""
        return int(np.prod(self.quantiser.codebooks.shape[:3]))

    def refresh(self, items: np.ndarray, queries: np.ndarray, seed: int, most: float) -> np.ndarray:
        """Codes the items, by codebooks that are fitted anew where they no longer fit.

        Codebooks that a training started from are kept as long as no channel's error is more
        than `most` times that of their fit, or than as many times .001.

        Args:
            items: [V + 1, M, d] float32, the channels of the entities; 0 is unknown, and not
                fitted to.
            queries: [N, d] float32, of events; may be empty.
            seed: Of the fit.
            most: Growth of the error.

        Returns:
            [M or M + 1] float32, the errors, the queries' last.
        """
        vectors = list(items[1:].transpose(1, 0, 2))
        if self.has_queries:
            vectors.append(np.concatenate([np.zeros_like(items[:1, 0]), queries]))
        fitted = self.fitted_error.numpy()
        errors = np.array([self._error(*one) for one in enumerate(vectors)], np.float32)
        if not fitted.any() or (errors > most * np.maximum(fitted, _NEGLIGIBLE)).any():
            self.quantiser.fit(vectors, seed)
            if self.has_queries:
                self._keep_the_empty_query()
            errors = np.array([self._error(*one) for one in enumerate(vectors)], np.float32)
            self.fitted_error.assign(errors)
        coded = [
            tf.stack(
                [
                    self.quantiser.encode(items[start : start + _CHUNK, channel], channel)
                    for channel in range(self.channels)
                ],
                axis=1,
            )
            for start in range(0, len(items), _CHUNK)
        ]
        self.codes.assign(tf.concat(coded, axis=0))
        return errors

    def _error(self, channel: int, vectors: np.ndarray) -> float:
        """Returns the share of the variance of [N, d] vectors that their codes lose.

        error = sum |x - what its code stands for|^2 / sum |x - mean of x|^2
        """
        lost = 0.0
        for start in range(0, len(vectors), _CHUNK):
            part = vectors[start : start + _CHUNK]
            codes = tf.cast(self.quantiser.encode(part, channel), tf.int32)  # [n, B]
            books = self.quantiser.codebooks[channel]  # [B, K, s]
            found = tf.gather(books, tf.transpose(codes), batch_dims=1)  # [B, n, s]
            found = tf.reshape(tf.transpose(found, [1, 0, 2]), part.shape)
            lost += float(tf.reduce_sum((part - found) ** 2))
        variance = float(np.sum((vectors - vectors.mean(axis=0)) ** 2))
        return lost / max(variance, 1e-12)

    def _keep_the_empty_query(self) -> None:
        """Moves the centroid of queries that is nearest to zeros there: these score nothing."""
        books = self.quantiser.codebooks.numpy()
        nearest = np.argmin((books[-1] ** 2).sum(axis=-1), axis=-1)  # [B]
        books[-1, np.arange(len(nearest)), nearest] = 0.0
        self.quantiser.codebooks.assign(books)

    def search(self, view: PageView, vectors: tf.Tensor) -> tf.Tensor:
        """Scores events.

        Args:
            view: I candidates and P histories of L events.
            vectors: [I, H, M, d] float32, what channels are multiplied with.

        Returns:
            [P, H, C, L] float32, with the candidates of each page in a row.
        """
        codes = tf.gather(self.codes, view.events)  # [P, L, M, B]
        if self.has_queries:
            queries = self.quantiser.encode(view.event_query, self.channels)
            codes = tf.concat([codes, queries[:, :, None]], axis=2)
        pages, heads = tf.shape(view.mask)[0], vectors.shape[1]
        tables = tf.reshape(self.quantiser.tables(vectors), [-1, heads * self.entries])
        tables = by_page(tables, places(view.row, pages), pages)  # [P, C, H M B K]
        shape = [pages, tf.shape(tables)[1] * heads, *self.quantiser.codebooks.shape[:3]]
        scores = look_up_scores(tf.reshape(tables, shape), codes)  # [P, C H, L]
        shape = [pages, tf.shape(tables)[1], heads, tf.shape(view.mask)[1]]
        return tf.transpose(tf.reshape(scores, shape), [0, 2, 1, 3])
