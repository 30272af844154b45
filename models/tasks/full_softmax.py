"""Cross-entropy over all trained items."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.layers.mixture import Queries
from models.tasks.config import FullSoftmaxConfig
from models.tasks.negatives import trained_items
from models.tasks.retrieval import Retrieval
from models.tasks.retrieval_loss import Candidates
from models.tasks.retrieval_loss import RetrievalLoss


class FullSoftmax(RetrievalLoss):
    """Softmax over every item that training has as a target.

        loss = -log( e^s / sum_{j trained} e^(s[j]) )

    Args:
        config: Its label smoothing.
        counts: [V + 1], how often each entity is a training target.
        precision: Of products with matrices, a name of a `tf.DType`.
    """

    def __init__(self, config: FullSoftmaxConfig, counts: np.ndarray, precision: str) -> None:
        super().__init__(name="full_softmax")
        trained = trained_items(counts)
        columns = np.zeros(len(counts), np.int32)
        columns[trained] = np.arange(trained.size)
        self._trained = tf.constant(trained, tf.int64)
        self._columns = tf.constant(columns)
        self._precision = tf.as_dtype(precision)
        self._task = Retrieval(config.label_smoothing)

    def candidate_ids(self, targets: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Returns all trained items, distinct."""
        return self._trained

    def labels(self, targets: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        """Finds the targets among the trained items."""
        return tf.gather(self._columns, targets)

    def call(
        self,
        queries: Queries,
        items: tf.Tensor,
        candidates: Candidates,
        excluded: tf.RaggedTensor | None = None,
    ) -> tf.Tensor:
        """Computes the mean loss; see the base class."""
        return self._task(
            queries,
            items,
            labels=candidates.labels,
            excluded=excluded,
            precision=self._precision,
        )
