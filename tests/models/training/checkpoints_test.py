"""A training that is killed goes on with the epoch that it was in."""

import numpy as np
import pytest
import tensorflow as tf

from models.trainer import train
from models.training.callbacks import Validation
from models.training.checkpoints import Checkpoints
from models.training.checkpoints import fingerprint
from tests.models.conftest import SMALL

CERTAIN = SMALL.model_validate(  # nothing within a step is left to chance
    SMALL.model_dump()
    | {
        "model": {
            "family": "sequence",
            "loss": {"negatives": 16},
            "dim": 8,
            "input": {"length": 8},
            "encoder": {"blocks": 1, "dropout": 0.0},
            "candidate": {"id_dropout": 0.0},
        },
    }
)


def run(log, folder):
    return train(CERTAIN, log.data, checkpoints=folder)


def kill_in(monkeypatch, epoch):
    """Ends the process, as it were, in the middle of an epoch."""

    def begin(self, number, logs=None):
        original(self, number, logs)
        if number == epoch - 1:
            raise KeyboardInterrupt

    original = Validation.on_epoch_begin
    monkeypatch.setattr(Validation, "on_epoch_begin", begin)


def test_a_killed_training_ends_as_an_uninterrupted_one(log, tmp_path, monkeypatch):
    folder = str(tmp_path / "checkpoints")
    whole, expected = run(log, None)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        kill_in(patch, epoch=3)
        run(log, folder)
    started = []
    with monkeypatch.context() as patch:
        begin = Validation.on_epoch_begin
        patch.setattr(
            Validation,
            "on_epoch_begin",
            lambda self, epoch, logs=None: (started.append(epoch + 1), begin(self, epoch, logs)),
        )
        again, report = run(log, folder)

    assert started == [3]
    assert [epoch["epoch"] for epoch in report["epochs"]] == [1, 2, 3]
    for one, other in zip(report["epochs"], expected["epochs"], strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert one["mrr@10"] == pytest.approx(other["mrr@10"], rel=1e-2)
    assert report["best"]["epoch"] == expected["best"]["epoch"]
    for weight, other in zip(again.trainable_variables, whole.trainable_variables, strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-3, err_msg=weight.name)


class Net(tf.keras.Model):
    """A weight, trained by Adam."""

    def __init__(self):
        super().__init__()
        self.weight = self.add_weight(name="weight", shape=[2])
        self.compile(optimizer=tf.keras.optimizers.Adam(0.1))

    def step(self):
        self.optimizer.apply_gradients([(tf.ones([2]), self.weight)])
        return self.weight.numpy().copy()


def kept(folder, name, model):
    """Checkpoints of a model, its validation, and how many epochs they hold."""
    validation = Validation(lambda: {}, "hr@10", patience=2)
    checkpoints = Checkpoints(str(folder), name, validation)
    checkpoints.set_model(model)
    return checkpoints, validation, checkpoints.restore(model)


def trained_for(folder, values, name="one"):
    """Trains for epochs whose metric has these values; returns the weights after each."""
    model = Net()
    checkpoints, validation, done = kept(folder, name, model)
    weights = []
    for epoch, value in enumerate(values, done):
        weights.append(model.step())
        validation.epochs.append({"epoch": epoch + 1.0, "seconds": 7.0, "hr@10": value})
        validation.best = max(validation.epochs, key=lambda record: record["hr@10"])
        checkpoints.on_epoch_end(epoch)
    return weights


def test_weights_optimiser_and_the_best_epoch_come_back(tmp_path):
    weights = trained_for(tmp_path, [0.1, 0.5, 0.2])
    model = Net()
    _, validation, done = kept(tmp_path, "one", model)

    assert done == 3 and validation.best["epoch"] == 2 and not validation.is_over
    np.testing.assert_array_equal(model.weight, weights[2])
    assert model.optimizer.iterations == 3
    validation.set_model(model)
    validation.on_train_end()
    np.testing.assert_array_equal(model.weight, weights[1])


def test_patience_counts_epochs_of_the_killed_process(tmp_path):
    trained_for(tmp_path, [0.5, 0.2, 0.1])

    assert kept(tmp_path, "one", Net())[1].is_over


def test_checkpoints_of_another_training_are_not_taken_up_and_not_kept(tmp_path):
    trained_for(tmp_path, [0.1])
    model = Net()
    fresh = model.weight.numpy()

    assert kept(tmp_path, "another", model)[2] == 0
    np.testing.assert_array_equal(model.weight, fresh)
    assert kept(tmp_path, "one", Net())[2] == 0


def test_the_name_of_a_training_follows_what_it_depends_on(tmp_path):
    file = tmp_path / "timelines"
    file.write_text("a")
    first = fingerprint([str(file)], "{}", "code 1")

    assert fingerprint([str(file)], "{}", "code 1") == first
    names = [fingerprint([str(file)], "{}", "code 2"), fingerprint([str(file)], "{1}", "code 1")]
    file.write_text("ab")
    names.append(fingerprint([str(file)], "{}", "code 1"))
    assert len({first, *names}) == 4
