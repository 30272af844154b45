"""Callbacks of training: ranking of the validation split, early stopping, progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

Metrics = dict[str, float]
LOWER_IS_BETTER = frozenset({"log_loss", "pretraining_loss", "views_loss"})


class Validation(tf.keras.callbacks.Callback):
    """Ranks the validation split after each epoch, keeps the best weights, and stops in time.

    Metrics join the epoch's logs as `val_<name>`, where TensorBoard finds them.

    Args:
        evaluate: Returns the metrics of the model as it is.
        monitor: The metric whose best epoch is kept.
        patience: Epochs without a better value after which training stops; 0
            never stops.
        max_minutes: Training ends after the epoch in which this many minutes
            have passed; 0 never does.

    Raises:
        ValueError: `evaluate` returns no metric of that name (when the first epoch ends).
    """

    def __init__(
        self,
        evaluate: Callable[[], Metrics],
        monitor: str,
        patience: int = 0,
        max_minutes: float = 0.0,
    ) -> None:
        super().__init__()
        self.epochs: list[Metrics] = []
        self.best: Metrics = {}
        self._evaluate = evaluate
        self._monitor = monitor
        self._patience = patience
        self._max_minutes = max_minutes
        self._weights: list[np.ndarray] = []
        self._start = self._epoch_start = time.monotonic()

    def resume(self, epochs: list[Metrics], best: Metrics, weights: list[np.ndarray]) -> None:
        """Takes up a training that has had some epochs.

        Args:
            epochs: Their records.
            best: The best one's.
            weights: The trainable weights after it.
        """
        self.epochs, self.best, self._weights = list(epochs), dict(best), weights

    @property
    def is_over(self) -> bool:
        """Returns whether training should end after the last epoch."""
        if not self.epochs:
            return False
        waited = len(self.epochs) - int(self.best["epoch"])
        if self._patience and waited >= self._patience:
            logging.info("no better %s for %d epochs: stopping", self._monitor, waited)
            return True
        seconds = self.epochs[-1]["seconds"]
        if self._max_minutes and seconds >= 60.0 * self._max_minutes:
            logging.info("%.1f minutes have passed: stopping", seconds / 60.0)
            return True
        return False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock, from where an earlier process left it."""
        self._start = time.monotonic() - (self.epochs[-1]["seconds"] if self.epochs else 0.0)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the epoch's clock."""
        self._epoch_start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Ranks, remembers and decides."""
        logs = {} if logs is None else logs
        trained = time.monotonic()
        metrics = self._evaluate()
        record = {"epoch": epoch + 1.0, "loss": float(logs["mean_loss"])} | metrics
        record["targets"] = float(self.model.mean_loss.count.numpy())  # of all workers
        record["train_seconds"] = trained - self._epoch_start
        record["validation_seconds"] = time.monotonic() - trained
        record["seconds"] = time.monotonic() - self._start
        logs.update({f"val_{name}": value for name, value in metrics.items()})
        self.epochs.append(record)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        logging.info("epoch %d: loss %.4f, %s", epoch + 1, record["loss"], shown)
        if not self.best or self._is_better(metrics[self._monitor]):
            self.best = record
            self._weights = [weight.numpy() for weight in self.model.trainable_variables]
        self.model.stop_training = self.is_over

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the best epoch's weights back."""
        for variable, value in zip(self.model.trainable_variables, self._weights, strict=True):
            variable.assign(value)

    def _is_better(self, value: float) -> bool:
        best = self.best[self._monitor]
        if best != best:  # NaN, as the AUC of labels that are all equal
            return True
        return value < best if self._monitor in LOWER_IS_BETTER else value > best


class EpochReport(tf.keras.callbacks.Callback):
    """Hands an epoch's validation to what may end the training by an exception.

    Args:
        metric: Which.
        report: Takes the epoch's number, from 1, and the metric.
    """

    def __init__(self, metric: str, report: Callable[[int, float], None]) -> None:
        super().__init__()
        self._metric, self._report = metric, report

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Reports."""
        self._report(epoch + 1, float((logs or {})[f"val_{self._metric}"]))


class Progress(tf.keras.callbacks.Callback):
    """Logs steps, the loss, examples a second and the time that is left.

    Args:
        batch_size: Examples in a step.
        steps: Steps in an epoch.
        epochs: Most epochs.
        every: Seconds between two lines.
    """

    def __init__(self, batch_size: int, steps: int, epochs: int, every: float = 10.0) -> None:
        super().__init__()
        self._batch_size = batch_size
        self._steps = steps
        self._epochs = epochs
        self._every = every
        self._epoch = 0
        self._last_time = 0.0
        self._last_step = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts counting anew: validation between epochs is no training time."""
        self._epoch, self._last_step, self._last_time = epoch, 0, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs a line when it is time."""
        if batch == 0:  # the first step also traces the graph
            self._last_step, self._last_time = 1, time.monotonic()
            return
        passed = time.monotonic() - self._last_time
        if passed < self._every:
            return
        rate = (batch + 1 - self._last_step) / passed  # steps a second
        left = (self._epochs - self._epoch) * self._steps - batch - 1
        logging.info(
            "epoch %d/%d, step %d/%d: loss %.4f, %s examples/s, at most %s left",
            self._epoch + 1,
            self._epochs,
            batch + 1,
            self._steps,
            float((logs or {}).get("mean_loss", float("nan"))),
            f"{rate * self._batch_size:,.0f}",
            _duration(left / rate),
        )
        self._last_step, self._last_time = batch + 1, time.monotonic()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(max(seconds, 0.0)), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
