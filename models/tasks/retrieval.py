"""The retrieval task: tell the target from other items."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.layers.mixture import Mixture
from models.layers.mixture import Queries
from models.layers.mixture import SoftBest
from models.layers.mixture import score_items
from models.tasks.chunked_softmax import corrected
from models.tasks.chunked_softmax import softmax_loss
from models.tasks.excluded import NEVER
from models.tasks.mixture_softmax import mixture_softmax_loss


class Retrieval(tfrs.tasks.Retrieval):
    r"""Softmax over the target and its negatives, with an honest estimate of the rest.

    With s the score of a row's target, s[j] that of negative j and n[j] the
    number of times that j is expected among the row's negatives,

        loss = -log( e^s / (e^s + sum_{j in negatives, j != target} e^(s[j] - log n[j])) )

    The sum is then an unbiased estimate of the full softmax's, whatever the
    negatives are drawn from: each item adds e^(s[j]) on average. (Sampled softmax of
    Bengio & Senecal 2008, with the target, which is always there, left
    uncorrected as the estimate demands; the correction for items that come out of
    the batch is that of Yi et al. 2019, eq. 5.) With all items for negatives and
    nothing to correct it is the full softmax.

    This is TFRS's task where TFRS is right (the factorised scores, several vectors
    for a query scored by their maximum, the place of the loss in a
    `tfrs.Model`). It differs where TFRS 0.7.7 falls short: the loss is the mean
    over rows and not their sum, so that it does not grow with the batch;
    probabilities below 1e-6 are not clipped, so that rare items of a large
    catalogue are corrected too; the target is not corrected as if it could have been
    absent; items are distinct, so that none is both target and negative of a row, and what
    is excluded is taken out by replacing its score, so that no size of score brings it back.

    Args:
        label_smoothing: Share of the label spread evenly over the items that count.
    """

    def __init__(self, label_smoothing: float = 0.0, name: str | None = None) -> None:
        super().__init__(name=name)
        self._label_smoothing = label_smoothing

    def call(  # the arguments of TFRS that stay unused are not repeated
        self,
        query_embeddings: Queries,
        candidate_embeddings: tf.Tensor,
        sample_weight: tf.Tensor | None = None,
        *,
        labels: tf.Tensor,
        correction: tf.Tensor | None = None,
        excluded: tf.RaggedTensor | None = None,
        precision: tf.DType = tf.float32,
    ) -> tf.Tensor:
        """Computes the loss over the targets and negatives of a batch, or over all items.

        Args:
            query_embeddings: [B, d] float32, for several vectors a query [B, K, d], of which the
                best counts, or a mixture of them.
            candidate_embeddings: [M, d] float32, distinct items, all rows' targets among
                them.
            sample_weight: [B] float32; 1 each when None.
            labels: [B] int, the row of each target among the candidates.
            correction: [M] float32, subtracted from the scores of a row's negatives:
                log n for logQ, less log m for a negative that stands for m equal
                ones, and 1e30 for a candidate that is no negative but another
                row's target; nothing is when None.
            excluded: [B, (columns)] int, candidates that do not count for a row;
                never its target.
            precision: Of the products with matrices; float32 where scores are all held at once, for
                the best of several vectors and for a mixture with smoothed labels.

        Returns:
            Scalar float32, the weighted mean over the rows.
        """
        if sample_weight is None:
            sample_weight = tf.ones(tf.shape(labels), tf.float32)
        weight = tf.math.divide_no_nan(sample_weight, tf.reduce_sum(sample_weight))
        if isinstance(query_embeddings, Mixture) and not self._label_smoothing:
            return mixture_softmax_loss(
                query_embeddings,
                candidate_embeddings,
                labels,
                weight,
                correction,
                excluded,
                precision,
            )
        if isinstance(query_embeddings, Mixture | SoftBest) or query_embeddings.shape.rank == 3:
            scores = score_items(query_embeddings, candidate_embeddings)
            logits = corrected(scores, labels, correction, excluded)
            return tf.reduce_sum(weight * self._smoothed(logits, labels))
        return softmax_loss(
            query_embeddings,
            candidate_embeddings,
            labels,
            weight,
            correction,
            excluded,
            self._label_smoothing,
            precision,
        )

    def _smoothed(self, scores: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Returns the losses [B] of scores [B, M]."""
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=scores)
        if not self._label_smoothing:
            return loss
        even = tf.reduce_logsumexp(scores, axis=1) - _mean_above(scores)
        return (1.0 - self._label_smoothing) * loss + self._label_smoothing * even

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {"label_smoothing": self._label_smoothing, "name": self.name}


def _mean_above(logits: tf.Tensor) -> tf.Tensor:
    """Returns [B], the mean over the logits of a row that count."""
    counts = tf.cast(logits > NEVER, logits.dtype)
    return tf.reduce_sum(logits * counts, axis=1) / tf.reduce_sum(counts, axis=1)
