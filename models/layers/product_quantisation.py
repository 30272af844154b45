"""Product quantisation of vectors of several modalities, and scores by looking tables up."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.cluster.vq import kmeans2

_POINTS = 256  # of each centroid, on which codebooks are fitted


class ProductQuantiser(tf.keras.layers.Layer):
    """Codes a vector by the nearest centroid of each of its sub-vectors, a codebook a modality.

        x[m] = [x[m, 1] ; .. ; x[m, B]],   code[m, b] = argmin_k |x[m, b] - C[m, b, k]|

    so that the product of a query with what codes stand for is a sum of B entries of a table
    (Jegou et al. 2011). The codebooks are weights that no gradient trains: `fit` makes them.

    Args:
        modalities: M.
        dim: d, width of a modality's vectors.
        sub_vectors: B, which divides d.
        centroids: K of each sub-vector; up to 256 make codes of a byte, more of two.

    Raises:
        ValueError: The sub-vectors do not divide the dimension.
    """

    def __init__(
        self, modalities: int, dim: int, sub_vectors: int = 8, centroids: int = 256, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if dim % sub_vectors:
            raise ValueError(
                f"`sub_vectors` should divide the dimension, received {sub_vectors} sub-vectors "
                f"and {dim} dimensions."
            )
        self.modalities = modalities
        self.dim = dim
        self.sub_vectors = sub_vectors
        self.centroids = centroids
        self.codebooks = self.add_weight(
            name="codebooks",
            shape=[modalities, sub_vectors, centroids, dim // sub_vectors],
            initializer="zeros",
            trainable=False,
        )

    @property
    def code_dtype(self) -> tf.DType:
        """The smallest type that holds a code."""
        return tf.uint8 if self.centroids <= 256 else tf.uint16

    def fit(self, vectors: Sequence[np.ndarray], seed: int = 0) -> None:
        """Fits the codebooks by k-means.

        Args:
            vectors: For each modality [N, d] float32; N may differ.
            seed: Of the points that are taken, and of the first centroids.

        Raises:
            ValueError: A modality has no vector, or one that is not finite.
        """
        for modality, given in enumerate(vectors):
            if not len(given) or not np.isfinite(given).all():
                raise ValueError(
                    f"Expected finite vectors of modality {modality}, received {len(given)}."
                )
        generator = np.random.default_rng(seed)
        books = [
            fit_codebook(part, self.centroids, generator)
            for given in vectors
            for part in np.split(np.asarray(given, np.float32), self.sub_vectors, axis=1)
        ]
        self.codebooks.assign(np.reshape(books, self.codebooks.shape))

    def encode(self, vectors: tf.Tensor, modality: int | None = None) -> tf.Tensor:
        """Codes vectors.

        Args:
            vectors: [..., M, d] float32; [..., d] of a single modality.
            modality: Which one; all when None.

        Returns:
            [..., M, B] of `code_dtype`; [..., B] of a single modality.
        """
        books = self.codebooks if modality is None else self.codebooks[modality]
        parts = self._split(vectors)
        product = tf.einsum("...s,...ks->...k", parts, books)  # [..., (M,) B, K]
        distance = tf.reduce_sum(books**2, axis=-1) - 2.0 * product
        return tf.cast(tf.argmin(distance, axis=-1), self.code_dtype)

    def decode(self, codes: tf.Tensor) -> tf.Tensor:
        """Returns what codes stand for: [N, M, B] -> [N, M, d] float32."""
        index = tf.transpose(tf.cast(codes, tf.int32), [1, 2, 0])  # [M, B, N]
        found = tf.gather(self.codebooks, index, batch_dims=2)  # [M, B, N, s]
        found = tf.transpose(found, [2, 0, 1, 3])
        return tf.reshape(found, [-1, self.modalities, self.dim])

    def tables(self, queries: tf.Tensor) -> tf.Tensor:
        """Multiplies queries with all centroids.

        Args:
            queries: [..., M, d] float32, what each modality is multiplied with.

        Returns:
            [..., M, B, K] float32.
        """
        return tf.einsum("...mbs,mbks->...mbk", self._split(queries), self.codebooks)

    def _split(self, vectors: tf.Tensor) -> tf.Tensor:
        """Cuts vectors into sub-vectors: [..., d] -> [..., B, d / B]."""
        width = self.dim // self.sub_vectors
        shape = tf.concat([tf.shape(vectors)[:-1], [self.sub_vectors, width]], axis=0)
        static = [*vectors.shape[:-1], self.sub_vectors, width]
        return tf.ensure_shape(tf.reshape(vectors, shape), static)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {
            "modalities": self.modalities,
            "dim": self.dim,
            "sub_vectors": self.sub_vectors,
            "centroids": self.centroids,
        }


def look_up_scores(tables: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
    """Sums the entries of tables that codes name.

        out[p, n, l] = sum_{m, b} tables[p, n, m, b, codes[p, l, m, b]]

    An event's entries are added as rows over all of its page's queries, which lie together.

    Args:
        tables: [P, N, M, B, K] float32, of N queries of each page.
        codes: [P, L, M, B] integers below K.

    Returns:
        [P, N, L] float32.
    """
    pages, queries, *entries = tf.unstack(tf.shape(tables))
    events, size = tf.shape(codes)[1], tf.reduce_prod(entries)
    rows = tf.transpose(tf.reshape(tables, [pages, queries, size]), [0, 2, 1])  # [P, M B K, N]
    parts = entries[0] * entries[1]
    index = tf.reshape(tf.cast(codes, tf.int32), [pages, events, parts])
    index += tf.range(parts) * entries[2] + (tf.range(pages) * size)[:, None, None]
    event = tf.repeat(tf.range(pages * events), parts)
    rows = tf.reshape(rows, [pages * size, queries])
    summed = tf.sparse.segment_sum(rows, tf.reshape(index, [-1]), event, pages * events)
    return tf.transpose(tf.reshape(summed, [pages, events, queries]), [0, 2, 1])


def fit_codebook(points: np.ndarray, centroids: int, generator: np.random.Generator) -> np.ndarray:
    """Fits the centroids of one sub-vector.

    Args:
        points: [N, s] float32, N at least 1.
        centroids: K. Where there are no more distinct points, these are the centroids, and the
            last is repeated.
        generator: Draws points and first centroids.

    Returns:
        [K, s] float32.
    """
    distinct = np.unique(points, axis=0)
    if len(distinct) <= centroids:
        missing = centroids - len(distinct)
        return np.concatenate([distinct, np.repeat(distinct[-1:], missing, axis=0)])
    if len(points) > _POINTS * centroids:
        points = points[generator.choice(len(points), _POINTS * centroids, replace=False)]
    first = _first_centroids(points, centroids, generator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a centroid that lost its points, and stays
        return kmeans2(points, first, iter=20, minit="matrix")[0]


def _first_centroids(
    points: np.ndarray, centroids: int, generator: np.random.Generator
) -> np.ndarray:
    """Draws first centroids by k-means++ (Arthur and Vassilvitskii 2007).

    Each is a point, drawn in proportion to its squared distance from those drawn before it,
    which is kept up to date: SciPy's own computes all distances anew for every draw.
    """
    norms = (points**2).sum(axis=1)
    drawn = [int(generator.integers(len(points)))]
    nearest = np.full(len(points), np.inf)
    while len(drawn) < centroids:
        last = drawn[-1]
        distance = norms - 2.0 * (points @ points[last]) + norms[last]
        nearest = np.minimum(nearest, np.maximum(distance, 0.0))
        odds = np.cumsum(nearest)
        place = np.searchsorted(odds, generator.random() * odds[-1], side="right")
        drawn.append(min(int(place), len(points) - 1))
    return points[drawn]
