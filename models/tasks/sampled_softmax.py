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
    """Softmax over the target, the targets of all replicas' rows, of earlier ones, and samples.

    The formula is that of `models.tasks.retrieval.Retrieval`; the scores of negatives
    lose log n[j], the number of times that an item is expected among them (logQ).
    Each distinct negative is scored once, for all its equals. The queue of earlier targets keeps
    ids and no vectors (unlike He et al. 2020, https://arxiv.org/abs/1911.05722): these are looked
    up, so that none is stale, and a queue is as likely to hold an item as a batch is. It begins
    with items drawn by their counts.

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
        if config.queue:
            share = np.asarray(counts, np.float64) / np.sum(counts)
            first = np.random.default_rng(seed).choice(share.size, config.queue, p=share)
            self.queue = self.add_weight(
                name="queue",
                shape=first.shape,
                dtype=tf.int64,
                initializer=lambda *_, **__: tf.constant(first, tf.int64),
                trainable=False,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,  # they write the same
            )

    def candidate_ids(self, targets: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Returns the targets, the negatives of batch and queue, and the sampled ones."""
        config = self._config
        seed = tf.stack([tf.constant(self._seed, tf.int64), step])
        sampled = self.sampler.sample(config.negatives, seed)
        batch = gather_rows(targets) if config.in_batch or config.queue else targets
        in_batch = [batch] if config.in_batch else []
        queued = [self._exchange(batch)] if config.queue else []
        return tf.concat([targets, *in_batch, *queued, sampled], axis=0)

    def _exchange(self, batch: tf.Tensor) -> tf.Tensor:
        """Returns the queue, [Q], and puts the targets of all replicas in front."""
        earlier = tf.identity(self.queue)
        self.queue.assign(tf.concat([batch, earlier], axis=0)[: self._config.queue])
        return earlier

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
            drawn, queue = self._config.negatives, self._config.queue
            batch = tf.size(negatives) - drawn - queue  # targets of all replicas
            correction += self.sampler.log_expected_count(candidates.ids, batch, drawn, queue)
        return self._task(
            queries,
            items,
            labels=candidates.labels,
            correction=correction,
            excluded=excluded,
            precision=self._precision,
        )
