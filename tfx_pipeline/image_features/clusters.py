"""Clusters of vectors: their centres, and which one a vector is of."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from transforms.arrow import pa
from transforms.arrow import pq
from transforms.arrow import read_table

_SAMPLE = 262_144  # vectors that centres are fitted to
_PASSES = 20
_TOKENS = pa.list_(pa.string())


def fit_centres(vectors: np.ndarray, clusters: int, seed: int = 0) -> np.ndarray:
    """Fits centres by mini-batch k-means of unit vectors, whose distances follow their cosines.

    Args:
        vectors: [n, d]; of more than 262,144 a random sample is read.
        clusters: k, how many; n where there are fewer vectors.
        seed: Of the sample and of the first centres.

    Returns:
        [k, d] float32.
    """
    if len(vectors) > _SAMPLE:
        vectors = vectors[np.random.default_rng(seed).permutation(len(vectors))[:_SAMPLE]]
    number = min(clusters, len(vectors))
    fitted = MiniBatchKMeans(
        number, random_state=seed, max_iter=_PASSES, n_init=1, batch_size=max(1024, 2 * number)
    ).fit(unit(vectors))
    return np.asarray(fitted.cluster_centers_, np.float32)


def nearest(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Returns the nearest of [k, d] centres of [n, d] vectors, brought to unit length: [n] int."""
    # |v - c|^2 less |v|^2, which is the same for all centres.
    distance = np.square(centres).sum(axis=1) - 2.0 * unit(vectors) @ centres.T
    return np.asarray(distance.argmin(axis=1))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Brings [n, d] vectors to unit length; zeros stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def read_vectors(path: Path) -> np.ndarray:
    """Reads the column `vector` of a file, [n, d] float32."""
    column = read_table(path, columns=["vector"])["vector"].combine_chunks()
    return np.asarray(column.flatten()).reshape(len(column), -1)


def tokens_of(vectors: np.ndarray, centres: np.ndarray) -> pa.ListArray:
    """Returns the cluster of each of [n, d] vectors, [n] lists of one text such as `c0`."""
    return pa.array([[f"c{one}"] for one in nearest(vectors, centres).tolist()], _TOKENS)


def write_tokens(files: Iterable[Path], target: Path, centres: np.ndarray) -> None:
    """Writes the cluster of each vector as a table of tokens.

    Args:
        files: Tables with `entity_type`, `entity_id` and `vector`.
        target: Directory in which a file of the same name and metadata appears for each.
        centres: [k, d].
    """
    target.mkdir(parents=True)
    for path in files:
        table = read_table(path, columns=["entity_type", "entity_id"])
        tokens = tokens_of(read_vectors(path), centres)
        pq.write_table(table.append_column("tokens", tokens), target / path.name)
