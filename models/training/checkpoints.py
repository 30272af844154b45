"""Keeps a training after each epoch, so that one that was killed goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from models.training.callbacks import Validation
from models.training.replicas import is_chief

_LATEST, _BEST, _FINISHED = "latest", "best", "finished"


def fingerprint(files: Sequence[str], *others: str) -> str:
    """Returns what a training depends on, as a name for its checkpoints.

    Args:
        files: What it reads; their names and sizes count.
        others: What else it depends on, e.g. its configuration.
    """
    sizes = [(name, tf.io.gfile.stat(name).length) for name in sorted(files)]
    text = json.dumps([sizes, *others])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Checkpoints(tf.keras.callbacks.Callback):
    """Writes weights, the optimiser and the epochs so far, and reads them back.

    A training that goes on does so with the batches that it would have had. What chance decides
    within a step (dropout, id dropout) it draws anew, so it equals the uninterrupted one
    up to these, and up to rounding where there are none.

    Only the checkpoints of one training are kept in a directory: those of another
    configuration, other data or other code are removed.

    Of several workers each writes, as metrics are summed over them for it, but what the chief
    wrote is kept, and all take that up.

    Args:
        folder: Where checkpoints are; a rerun has to find the same, and so has every worker.
        name: Of the training (`fingerprint`).
        validation: Called before this, so that it has seen the epoch.
    """

    def __init__(self, folder: str, name: str, validation: Validation) -> None:
        super().__init__()
        self._folder, self._name = folder, name
        self._validation = validation
        self._record = _Record()
        self._scratch = None if is_chief() else tempfile.TemporaryDirectory()

    def restore(self, model: tf.keras.Model) -> int:
        """Takes up a training.

        Args:
            model: Compiled, its weights made.

        Returns:
            How many epochs it has had, 0 when there is nothing to take up.
        """
        if is_chief() and tf.io.gfile.exists(self._folder):
            for other in set(tf.io.gfile.listdir(self._folder)) - {self._name, f"{self._name}/"}:
                tf.io.gfile.rmtree(os.path.join(self._folder, other))
        model.optimizer.build(model.trainable_variables)
        whole = tf.train.Checkpoint(model=model, record=self._record)
        weights = tf.train.Checkpoint(weights=model.trainable_variables)
        self._latest = self._manager(whole, _LATEST, 1)
        # The one that `latest` speaks of, and one that a kill may leave without it.
        self._best = self._manager(weights, _BEST, 2)
        latest = tf.train.latest_checkpoint(os.path.join(self._folder, self._name, _LATEST))
        if not latest:
            return 0
        whole.restore(latest).assert_consumed()
        epochs, best = self._record.values["epochs"], self._record.values["best"]
        own = [weight.numpy() for weight in model.trainable_variables]
        weights.restore(self._path(_BEST, int(best["epoch"]))).assert_consumed()
        kept = [weight.numpy() for weight in model.trainable_variables]
        for variable, value in zip(model.trainable_variables, own, strict=True):
            variable.assign(value)
        self._validation.resume(epochs, best, kept)
        logging.info("going on after epoch %d: %s", len(epochs), latest)
        return len(epochs)

    def wait(self, seconds: float = 5.0) -> None:
        """Waits until the training has been finished elsewhere.

        Args:
            seconds: Between two looks.
        """
        finished = os.path.join(self._folder, self._name, _FINISHED)
        while not tf.io.gfile.exists(finished):
            time.sleep(seconds)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Says that the training is over to whom waits for it."""
        if is_chief():
            path = os.path.join(self._folder, self._name, _FINISHED)
            with tf.io.gfile.GFile(path, "w") as file:
                file.write(f"{len(self._validation.epochs)} epochs\n")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps the training."""
        best = self._validation.best
        if best["epoch"] == epoch + 1:
            self._best.save(epoch + 1)
        self._record.values = {"epochs": self._validation.epochs, "best": best}
        self._latest.save(epoch + 1)

    def _manager(
        self, checkpoint: tf.train.Checkpoint, kind: str, most: int
    ) -> tf.train.CheckpointManager:
        written = self._scratch.name if self._scratch else self._folder
        path = os.path.join(written, self._name, kind)
        return tf.train.CheckpointManager(checkpoint, path, max_to_keep=most)

    def _path(self, kind: str, number: int) -> str:
        return os.path.join(self._folder, self._name, kind, f"ckpt-{number}")


class _Record(tf.train.experimental.PythonState):
    """Values that a checkpoint holds as JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, Any] = {}

    def serialize(self) -> str:
        """Returns the values as text."""
        return json.dumps(self.values)

    def deserialize(self, text: str) -> None:
        """Takes values from text."""
        self.values = json.loads(text)
