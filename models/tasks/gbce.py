"""Generalised binary cross-entropy."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from models.layers.mixture import Queries
from models.layers.mixture import score_items
from models.tasks.config import GBCEConfig
from models.tasks.excluded import NEVER
from models.tasks.excluded import leave_out
from models.tasks.excluded import replace_own
from models.tasks.negatives import NegativeSampler
from models.tasks.retrieval_loss import Candidates
from models.tasks.retrieval_loss import RetrievalLoss


class GBCE(RetrievalLoss):
    """Binary cross-entropy of the target and of sampled items, calibrated for their share.

    The formula is that of `generalised_binary_cross_entropy`.

    Args:
        config: The negatives and the calibration.
        counts: [V + 1], how often each entity is a training target.
        seed: Of the negatives.
    """

    def __init__(self, config: GBCEConfig, counts: np.ndarray, seed: int) -> None:
        super().__init__(name="gbce")
        self.sampler = NegativeSampler(
            counts, config.popularity_exponent, config.uniform_share, in_batch=False
        )
        self._config = config
        self._seed = seed

    def candidate_ids(self, targets: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Returns the targets and the sampled negatives."""
        seed = tf.stack([tf.constant(self._seed, tf.int64), step])
        return tf.concat([targets, self.sampler.sample(self._config.negatives, seed)], axis=0)

    def call(
        self,
        queries: Queries,
        items: tf.Tensor,
        candidates: Candidates,
        excluded: tf.RaggedTensor | None = None,
    ) -> tf.Tensor:
        """Computes the mean loss; see the base class."""
        negatives = candidates.position[tf.size(candidates.labels) :]
        drawn = tf.math.bincount(negatives, minlength=tf.shape(items)[0])  # [n]
        return generalised_binary_cross_entropy(
            queries,
            items,
            candidates.labels,
            tf.cast(drawn, tf.float32),
            self.sampler.trained.size,
            self._config.calibration,
            excluded,
        )


def generalised_binary_cross_entropy(
    query_embeddings: Queries,
    candidate_embeddings: tf.Tensor,
    labels: tf.Tensor,
    negative_counts: tf.Tensor,
    items: int,
    calibration: float,
    excluded: tf.RaggedTensor | None = None,
) -> tf.Tensor:
    r"""Computes the generalised binary cross-entropy.

        loss = -1/(N + 1) (beta log sigmoid(s) + sum_j m[j] log(1 - sigmoid(s[j])))
        beta = a (t (1 - 1/a) + 1/a) = 1 - t (1 - a),   a = N / (M - 1)
        s[j] = q . c[j] - log(M - 1)

    With negatives a share a of the other items, t = 0 is binary cross-entropy and t = 1
    has the true probability for its optimum. (gSASRec, Petrov & Macdonald 2023,
    eqs. 8 and 20; the negatives are here those of the batch.) The constant is not in
    the paper: with it an untrained model says what chance says, 1 / M. Otherwise
    all items are first pushed away from all queries, and an optimiser that remembers the
    size of these gradients takes small steps long after.

    Args:
        query_embeddings: [B, d] float32, or a mixture.
        candidate_embeddings: [n, d] float32, the distinct targets and negatives of all
            rows.
        labels: [B] int, the row of each target among the candidates.
        negative_counts: [n] float32, m, how often each was drawn; N in all.
        items: M, items that are drawn from.
        calibration: t.
        excluded: [B, (columns)] int, negatives that do not count for a row.

    Returns:
        Scalar float32, the mean over the rows.
    """
    number = tf.reduce_sum(negative_counts)
    others = float(max(items - 1, 1))
    share = tf.minimum(1.0, number / others)
    beta = 1.0 - calibration * (1.0 - share)
    scores = score_items(query_embeddings, candidate_embeddings) - math.log(others)  # [B, n]
    positive = tf.gather(scores, labels, batch_dims=1)  # [B]
    never = tf.fill(tf.shape(labels), NEVER)
    negative = replace_own(leave_out(scores, excluded), labels, never)
    # log(1 - sigmoid(s)) = -softplus(s), which is 0 for what is left out.
    wrong = tf.linalg.matvec(tf.nn.softplus(negative), negative_counts)  # [B]
    return tf.reduce_mean((beta * tf.nn.softplus(-positive) + wrong) / (number + 1.0))
