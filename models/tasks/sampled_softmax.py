"""Cross-entropy over the batch's targets and sampled items, corrected for the sampling."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.layers.mixture import Queries
from models.tasks.config import SampledSoftmaxConfig
from models.tasks.negatives import NegativeSampler
from models.tasks.retrieval import Retrieval
from models.tasks.retrieval_loss import Candidates
from models.tasks.retrieval_loss import RetrievalLoss
from models.training.replicas import gather_rows


class SampledSoftmax(RetrievalLoss):
    """Softmax over the target, the targets of all replicas' rows and sampled items.

    The formula is that of `models.tasks.retrieval.Retrieval`; the scores of negatives
    lose log n[j], the number of times that an item is expected among them (logQ).
    Each distinct negative is scored once, for all its equals.

    Args:
        config: Which negatives there are, and whether they are corrected.
        counts: [V + 1], how often each entity is a training target.
        seed: Of the negatives.
        precision: Of products with matrices, a name of a `tf.DType`.
    """

    def __init__(
        self, config: SampledSoftmaxConfig, counts: np.ndarray, seed: int, precision: str
    ) -> None:
        super().__init__(name="sampled_softmax")
        self.sampler = NegativeSampler(
            counts, config.popularity_exponent, config.uniform_share, config.in_batch
        )
        self._config = config
        self._seed = seed
        self._precision = tf.as_dtype(precision)
        self._task = Retrieval()

    def candidate_ids(self, targets: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Returns the targets, the negatives out of the batch, and the sampled ones."""
        seed = tf.stack([tf.constant(self._seed, tf.int64), step])
        sampled = self.sampler.sample(self._config.negatives, seed)
        in_batch = [gather_rows(targets)] if self._config.in_batch else []
        return tf.concat([targets, *in_batch, sampled], axis=0)

    def call(
        self,
        queries: Queries,
        items: tf.Tensor,
        candidates: Candidates,
        excluded: tf.RaggedTensor | None = None,
    ) -> tf.Tensor:
        """Computes the mean loss; see the base class."""
        negatives = candidates.position[tf.size(candidates.labels) :]
        many = tf.math.bincount(negatives, minlength=tf.shape(items)[0])  # [n]
        many = tf.cast(many, tf.float32)
        correction = tf.where(many > 0, -tf.math.log(many), 1e30)
        if self._config.correct_sampling:
            batch = tf.size(negatives) - self._config.negatives  # targets of all replicas
            correction += self.sampler.log_expected_count(
                candidates.ids, batch, self._config.negatives
            )
        return self._task(
            queries,
            items,
            labels=candidates.labels,
            correction=correction,
            excluded=excluded,
            precision=self._precision,
        )
