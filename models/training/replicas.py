"""Training on several replicas: what they share, and what each of them adds to the loss."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any
from typing import TypeAlias

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class InputPart:
    """The part of the training data that one input pipeline reads.

    Attributes:
        index: Which of the pipelines it is; it reads every `number`-th timeline.
        number: How many pipelines there are: one a worker.
        replicas: How many replicas share a batch.
    """

    index: int = 0
    number: int = 1
    replicas: int = 1

    @classmethod
    def of(cls, context: tf.distribute.InputContext) -> InputPart:
        """Returns the part that a strategy asks for."""
        return cls(
            context.input_pipeline_id,
            context.num_input_pipelines,
            context.num_replicas_in_sync,
        )


WHOLE = InputPart()


def training_strategy() -> tf.distribute.Strategy:
    """Returns how replicas train: workers of `TF_CONFIG`, several GPUs, or one device.

    Raises:
        RuntimeError: There are workers, and TensorFlow has run something in this process before.
    """
    if worker_count() > 1:
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except RuntimeError as error:
            raise RuntimeError(
                "`TF_CONFIG` names several workers, whose training has to be the first thing that "
                "TensorFlow does in a process. Set `TF_CONFIG` not for the pipeline but for "
                "workers, and `<stage>.trainer.workers` to how many they are."
            ) from error
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def worker_count() -> int:
    """Returns how many workers train together, as `TF_CONFIG` says; 1 without it."""
    cluster = _tf_config().get("cluster", {})
    return max(1, len(cluster.get("worker", ())) + len(cluster.get("chief", ())))


def is_chief() -> bool:
    """Says whether this process writes what all workers have trained."""
    config = _tf_config()
    task = config.get("task", {})
    if config.get("cluster", {}).get("chief"):
        return bool(task.get("type") == "chief")
    return bool(task.get("index", 0) == 0)


def gather_rows(values: tf.Tensor) -> tf.Tensor:
    """Concatenates the [n, ...] values of all replicas, which may differ in n."""
    context = _replica_context()
    if context is None:
        return values
    # What comes in from outside is on no device, and gathering asks where its destination is.
    return context.all_gather(tf.identity(values), axis=0)


def sum_over_replicas(values: tf.Tensor) -> tf.Tensor:
    """Adds up values of one shape over all replicas; gradients of all of them come back."""
    context = _replica_context()
    if context is None:
        return values
    return context.all_reduce(tf.distribute.ReduceOp.SUM, values)


def rows_before(number: tf.Tensor) -> tf.Tensor:
    """Returns where a replica's rows begin among those of `gather_rows`.

    Args:
        number: Scalar int32, how many rows this replica has.

    Returns:
        Scalar int32; 0 for the only replica.
    """
    context = _replica_context()
    if context is None:
        return tf.zeros([], tf.int32)
    numbers = gather_rows(number[None])  # one a replica
    return tf.reduce_sum(numbers[: context.replica_id_in_sync_group])


def share_of_mean(mean: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Returns what a replica adds to the mean over the rows of all replicas.

        share = mean * rows / sum over replicas of rows

    Gradients of replicas are summed, so these shares give the gradient of one
    mean, however the rows are divided. No rows at all add 0.

    Args:
        mean: Scalar float32, the mean over this replica's rows.
        rows: Scalar, how many these are, or the sum of their weights.

    Returns:
        Scalar float32.
    """
    context = _replica_context()
    if context is None:
        return mean
    own = tf.cast(rows, mean.dtype)
    total = context.all_reduce(tf.distribute.ReduceOp.SUM, own)
    return tf.math.divide_no_nan(mean * own, total)


Gradient: TypeAlias = "tf.Tensor | tf.IndexedSlices | None"


def merge_rows(gradients: Sequence[Gradient]) -> list[Gradient]:
    """Adds up what sparse gradients hold of equal rows, so that their norms are right."""

    def merged(gradient: Gradient) -> Gradient:
        if not isinstance(gradient, tf.IndexedSlices):
            return gradient
        rows, index = tf.unique(gradient.indices)
        values = tf.math.unsorted_segment_sum(gradient.values, index, tf.size(rows))
        return tf.IndexedSlices(values, rows, gradient.dense_shape)

    return [merged(gradient) for gradient in gradients]


def sum_gradients(gradients: Sequence[Gradient]) -> list[Gradient]:
    """Sums gradients over replicas; sparse ones stay sparse.

    Args:
        gradients: This replica's, one a variable; None where there is none.

    Returns:
        The sums, the same on all replicas. Of sparse ones the rows of all
        replicas follow one another.
    """
    context = _replica_context()
    if context is None:
        return list(gradients)

    def total(gradient: tf.Tensor | tf.IndexedSlices | None) -> Any:
        if gradient is None:
            return None
        if isinstance(gradient, tf.IndexedSlices):
            rows, values = gather_rows(gradient.indices), gather_rows(gradient.values)
            return tf.IndexedSlices(values, rows, gradient.dense_shape)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, gradient)

    return [total(gradient) for gradient in gradients]


def _tf_config() -> dict[str, Any]:
    """Returns who trains together, as TensorFlow is told; nothing for one process alone."""
    config: dict[str, Any] = json.loads(os.environ.get("TF_CONFIG") or "{}")
    return config


def _replica_context() -> tf.distribute.ReplicaContext | None:
    """Returns the context of this replica; None where it is the only one."""
    context = tf.distribute.get_replica_context()
    return None if context is None or context.num_replicas_in_sync == 1 else context
