"""Columns of vectors and of weights, as tables of embeddings have them."""

from __future__ import annotations

import numpy as np

from transforms.arrow import pa

EMBEDDING, WEIGHT = "embedding", "weight"  # names, of signatures' outputs, too


def vectors_column(vectors: np.ndarray) -> pa.Array:
    """Returns [B, d] as B vectors of a fixed size, and [B, K, d] as B lists of them."""
    flat = pa.array(vectors.astype(np.float32, copy=False).reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[-1])
    return column if vectors.ndim == 2 else _lists(column, vectors.shape[:2])


def weights_column(weights: np.ndarray) -> pa.Array:
    """Returns [B, K] as B lists of numbers."""
    flat = pa.array(weights.astype(np.float32, copy=False).reshape(-1))
    return _lists(flat, weights.shape)


def _lists(values: pa.Array, shape: tuple[int, ...]) -> pa.ListArray:
    rows, each = shape
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32) * each), values)
