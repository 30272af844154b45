"""COURIER's contrastive loss over all images of a batch, and what tells a collapse."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.training.replicas import gather_rows
from models.training.replicas import rows_before


def contrast(
    anchors: tf.Tensor,
    targets: tf.Tensor,
    rows: tf.Tensor,
    label: tf.Tensor,
    temperature: float,
    negatives: tf.Tensor | None = None,
) -> tf.Tensor:
    """Tells each anchor's target from those of the whole batch, of all replicas.

        loss[j] = -log( e^{cos(a[j], t[l]) / tau} / sum_i e^{cos(a[j], t[i]) / tau} ),  l = label[j]

    where i runs over all targets but other copies of the anchor's own image.
    (Yang et al. 2023, COURIER, https://arxiv.org/abs/2306.05001)

    Args:
        anchors: [A, d] float32.
        targets: [P, d] float32, this replica's.
        rows: [P] int32, the image of each target.
        label: [A] int32, which of this replica's targets is the anchor's.
        temperature: tau.
        negatives: [A, P] bool, which of this replica's targets are an anchor's; all targets of
            the batch when None.

    Returns:
        [A] float32.
    """
    own = tf.gather(rows, label)  # [A]
    targets = tf.math.l2_normalize(targets, axis=1)
    if negatives is None:
        label += rows_before(tf.size(rows))
        targets, rows = gather_rows(targets), gather_rows(rows)
        negatives = tf.ones([1, 1], tf.bool)
    logits = tf.matmul(tf.math.l2_normalize(anchors, axis=1), targets, transpose_b=True)
    negatives &= tf.not_equal(own[:, None], rows)
    kept = negatives | tf.equal(label[:, None], tf.range(tf.size(rows)))
    logits = tf.where(kept, logits / temperature, -1e9)  # [A, P], of all replicas by default
    # Not TensorFlow's own cross-entropy, which refuses a batch without a single target.
    return tf.reduce_logsumexp(logits, axis=1) - tf.gather(logits, label, batch_dims=1)


def mean_of(losses: tf.Tensor) -> tf.Tensor:
    """Returns the mean of [n] losses; 0 where there is none."""
    return tf.math.divide_no_nan(tf.reduce_sum(losses), tf.cast(tf.size(losses), tf.float32))


def mean_cosine(vectors: np.ndarray) -> float:
    """Computes the mean cosine of all pairs of vectors: near 1 where they have collapsed.

        (|sum_i v[i]|^2 - n) / (n (n - 1)),   v of unit length

    Args:
        vectors: [n, d].
    """
    unit = _unit(vectors)
    number = len(unit)
    return float((np.square(unit.sum(axis=0)).sum() - number) / (number * (number - 1)))


def effective_rank(vectors: np.ndarray) -> float:
    """Computes the effective rank of unit vectors, from 1 (collapsed) to d.

        exp(-sum_k p[k] log p[k]),   p = singular values / their sum

    (Roy and Vetterli 2007, The effective rank.)

    Args:
        vectors: [n, d].
    """
    values = np.linalg.svd(_unit(vectors), compute_uv=False)
    shares = values[values > 0.0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
