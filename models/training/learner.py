"""Base of everything that is trained: one step, on any number of replicas."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.training.replicas import InputPart
from models.training.replicas import merge_rows
from models.training.replicas import share_of_mean
from models.training.replicas import sum_gradients

if TYPE_CHECKING:
    from models.config import TrainerConfig
    from models.training.data import TrainingData

Metrics = dict[str, float]


class Evaluation(Protocol):
    """Measures a model on the validation split, as it is."""

    def evaluate(self) -> Metrics:
        """Returns the metrics."""

    def report(self) -> dict[str, Any]:
        """Returns what else the report of a training says of the model that was kept."""

    def run_one(self) -> None:
        """Runs the model on one row, which makes its weights."""


class Learner(tfrs.Model):
    """A TFRS model that the Trainer can fit, choose the best epoch of, and export.

    A subclass says what its batches are (`training_batches`, `count_batches`), what
    it loses on one (`compute_loss`), how good it is (`validation`) and what is written
    (`export`). AutoGraph converts nothing of a step: no line has control flow over
    tensors, and converting takes more than half of the time that tracing takes.

    Args:
        config: How it is trained.
        name: Name of the Keras model.

    Attributes:
        targets_per_epoch: About how many targets an epoch has; 0 where nobody counted them.
        learns: Whether it is fitted; a model that is exported as it starts is not.
    """

    targets_per_epoch: float = 0.0
    learns: bool = True

    def __init__(self, config: TrainerConfig, name: str) -> None:
        super().__init__(name=name)
        self.config = config
        self.mean_loss = tf.keras.metrics.Mean("mean_loss")  # over the epoch so far
        self.distribute_reduction_method = "first"  # metrics are of all replicas as they are
        self._frozen: frozenset[int] = frozenset()

    @classmethod
    def of(cls, config: Any, data: TrainingData) -> Learner:
        """Makes the model for what it will learn from."""
        raise NotImplementedError

    def training_batches(self, data: TrainingData, part: InputPart) -> tf.data.Dataset:
        """Makes the batches that `compute_loss` takes.

        Args:
            data: What is learned from.
            part: The part of it that is read.

        Returns:
            Dataset of one epoch of batches, the replica's share of each.
        """
        raise NotImplementedError

    def count_batches(self, data: TrainingData) -> int:
        """Counts the batches of an epoch."""
        raise NotImplementedError

    def start(self, data: TrainingData) -> None:
        """Gives weights, which are made by then, a start that follows from the data; nothing.

        A model that starts from an earlier one's weights is not asked.

        Args:
            data: What is learned from.
        """

    def validation(self, data: TrainingData) -> Evaluation:
        """Makes what measures the model on the validation split of the data."""
        raise NotImplementedError

    def finish(self, evaluation: Evaluation) -> Metrics:
        """Does what follows the choice of the best epoch, e.g. a calibration.

        Args:
            evaluation: Of `validation`.

        Returns:
            Metrics of what is exported; none where nothing changed.
        """
        del evaluation
        return {}

    def export(self, tft_layer: tf.keras.layers.Layer, path: str) -> None:
        """Writes a SavedModel with the signatures of the model's stage.

        Args:
            tft_layer: Transform's graph (`TFTransformOutput.transform_features_layer()`).
            path: The directory to write.
        """
        raise NotImplementedError

    @tf.autograph.experimental.do_not_convert
    def train_step(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Learns from one batch, together with the other replicas if there are any.

        Args:
            inputs: What `training_batches` gives.

        Returns:
            `loss`, this replica's share of the batch's, and the metrics so far.
        """
        with tf.GradientTape() as tape:
            loss = self.compute_loss(inputs, training=True)
        weights = self.trainable_variables
        gradients = sum_gradients(tape.gradient(loss, weights))
        if self.config.optimizer.clip_norm:
            gradients = merge_rows(gradients)
        self.optimizer.apply_gradients(
            zip(gradients, weights, strict=True), skip_gradients_aggregation=True
        )
        return {metric.name: metric.result() for metric in self.metrics} | {"loss": loss}

    def share_of_loss(self, mean: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Returns this replica's share of a batch's mean loss, and keeps count of the epoch's.

        Args:
            mean: Scalar float32, the mean loss of this replica's rows.
            rows: Scalar, how many these are, or the sum of their weights.
        """
        self.mean_loss.update_state(mean, sample_weight=tf.cast(rows, tf.float32))
        return share_of_mean(mean, rows)

    @property
    def step(self) -> tf.Tensor:
        """The training's step, scalar int64; 0 before training."""
        optimizer = getattr(self, "optimizer", None)
        return (
            tf.zeros([], tf.int64) if optimizer is None else tf.cast(optimizer.iterations, tf.int64)
        )

    def parts(self) -> Mapping[str, list[tf.Variable]]:
        """Returns the weights of the parts that may be frozen, by their names; none."""
        return {}

    def freeze(self, names: Iterable[str]) -> None:
        """Lets parts keep the weights that they have.

        Args:
            names: Of `parts`.
        """
        parts = self.parts()
        self._frozen = frozenset(id(weight) for name in names for weight in parts[name])

    @property
    def trainable_weights(self) -> list[tf.Variable]:
        """The weights that training changes: those of frozen parts are not among them."""
        return [weight for weight in super().trainable_weights if id(weight) not in self._frozen]

    def fitted_weights(self) -> list[tf.Variable]:
        """Returns what a warm start takes over beside weights that gradients train; nothing."""
        return []

    def saved_weights(self) -> list[tf.Variable]:
        """Returns what a SavedModel keeps: all but metrics, which all workers together read."""
        metrics = {id(variable) for metric in self.metrics for variable in metric.variables}
        return [variable for variable in self.variables if id(variable) not in metrics]


def seed_everything(config: TrainerConfig) -> None:
    """Seeds Python, NumPy and TensorFlow, and chooses deterministic kernels where asked to."""
    tf.keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
