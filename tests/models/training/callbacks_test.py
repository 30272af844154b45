import logging

import numpy as np
import pytest
import tensorflow as tf

from models.training.callbacks import EpochReport
from models.training.callbacks import Progress
from models.training.callbacks import Validation


class Model:
    """What `Validation` uses of a model."""

    def __init__(self):
        self.trainable_variables = [tf.Variable([0.0])]
        self.stop_training = False
        self.mean_loss = tf.keras.metrics.Mean()
        self.mean_loss.update_state(2.0, sample_weight=7.0)  # over seven targets


def run(values, **more):
    """Validates epochs whose metric has the given values; the weight is the epoch."""
    left = iter(values)
    validation = Validation(lambda: {"hr@10": next(left)}, "hr@10", **more)
    model = validation.model = Model()
    validation.on_train_begin()
    for epoch in range(len(values)):
        model.trainable_variables[0].assign([float(epoch)])
        validation.on_epoch_begin(epoch)
        logs = {"mean_loss": 1.0}
        validation.on_epoch_end(epoch, logs)
        assert logs["val_hr@10"] == values[epoch]
        if model.stop_training:
            break
    validation.on_train_end()
    return validation, model


def test_the_best_epochs_weights_come_back():
    validation, model = run([0.1, 0.3, 0.2])

    assert validation.best["epoch"] == 2 and validation.best["targets"] == 7.0
    np.testing.assert_array_equal(model.trainable_variables[0], [1.0])


def test_patience_counts_epochs_without_a_better_value():
    validation, model = run([0.1, 0.3, 0.3, 0.2, 0.9], patience=2)

    assert model.stop_training and len(validation.epochs) == 4


def test_no_patience_never_stops():
    _, model = run([0.3, 0.2, 0.1], patience=0)

    assert not model.stop_training


def test_time_limit_stops():
    validation, model = run([0.1, 0.2], max_minutes=1e-9)

    assert model.stop_training and len(validation.epochs) == 1


def test_progress_says_steps_speed_and_time_left(caplog):
    progress = Progress(batch_size=10, steps=3, epochs=2, every=0.0)
    progress.on_epoch_begin(0)
    with caplog.at_level(logging.INFO, logger="absl"):
        for step in range(3):
            progress.on_train_batch_end(step, {"mean_loss": 1.5})

    assert len(caplog.messages) == 2  # the first step traces the graph and does not count
    assert "epoch 1/2, step 3/3: loss 1.5000" in caplog.messages[-1]
    assert "examples/s" in caplog.messages[-1] and "left" in caplog.messages[-1]


def test_an_epoch_reports_its_metric_and_may_be_the_last():
    reported = []

    def report(epoch, value):
        reported.append((epoch, value))
        if value < 0.2:
            raise StopIteration

    callback = EpochReport("hr@5", report)
    callback.on_epoch_end(0, {"val_hr@5": 0.25, "mean_loss": 3.0})
    with pytest.raises(StopIteration):
        callback.on_epoch_end(1, {"val_hr@5": 0.125})
    assert reported == [(1, 0.25), (2, 0.125)]
