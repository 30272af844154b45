"""Interface of retrieval losses."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from models.layers.mixture import Queries


class Candidates(NamedTuple):
    """The items that a batch's queries are scored against.

    Attributes:
        ids: [n] int64, distinct.
        position: [c] int32, which of them each of the loss's `candidate_ids` is.
        labels: [P] int32, which of them each query's target is.
    """

    ids: tf.Tensor
    position: tf.Tensor
    labels: tf.Tensor

    def of_rows(self, rows: slice) -> Candidates:
        """Returns the same items for some of the queries, which share all negatives."""
        others, labels = self.position[tf.size(self.labels) :], self.labels[rows]
        return self._replace(position=tf.concat([labels, others], axis=0), labels=labels)


class RetrievalLoss(tf.keras.layers.Layer):
    """A loss that tells each query's target from other items.

    The model asks which items it should embed, embeds each distinct one once, and
    hands queries and items over:

        ids = loss.candidate_ids(targets, step)
        distinct, position = tf.unique(ids)
        candidates = Candidates(distinct, position, loss.labels(targets, position))
        value = loss(queries, embed(distinct), candidates, excluded)
    """

    def candidate_ids(self, targets: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Chooses the items that the loss needs.

        Args:
            targets: [P] int64, this replica's targets.
            step: Scalar int64, of the training; the same on all replicas.

        Returns:
            [c] int64, of which the same item may be several.
        """
        raise NotImplementedError

    def labels(self, targets: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        """Finds the targets among the distinct candidates, of which they are the first.

        Args:
            targets: [P] int64.
            position: [c] int32, which of the distinct candidates each of `candidate_ids` is.

        Returns:
            [P] int32.
        """
        return position[: tf.size(targets)]

    def call(
        self,
        queries: Queries,
        items: tf.Tensor,
        candidates: Candidates,
        excluded: tf.RaggedTensor | None = None,
    ) -> tf.Tensor:
        """Computes the mean loss of the queries.

        Args:
            queries: [P, d] float32, or a mixture of interests.
            items: [n, d] float32, the vectors of `candidates.ids`.
            candidates: The items, and which of them are targets.
            excluded: [P, (columns)] int, candidates that are no negatives of a query;
                never its target.

        Returns:
            Scalar float32.
        """
        raise NotImplementedError
