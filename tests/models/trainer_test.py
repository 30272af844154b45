import json

import numpy as np
import pytest
from tensorflow.python.framework import config as framework_config

from models.config import RetrievalTrainerConfig
from models.fixed_values import retrieval_trainer
from models.trainer import train
from tests.models.conftest import SEQUENCE
from tests.models.conftest import SMALL


def run(log, config, **more):
    return train(config, log.data, **more)


def changed(**sections):
    """The small configuration with some sections updated."""
    values = SMALL.model_dump()
    for name, update in sections.items():
        if isinstance(update, dict):
            values[name] = values[name] | update
        else:
            values[name] = update
    return retrieval_trainer(values)


def test_report_holds_the_configuration_and_every_epoch(trained):
    report = json.loads((trained.run_dir / "training.json").read_text())

    assert RetrievalTrainerConfig.model_validate(report["config"]) == trained.config
    assert [epoch["epoch"] for epoch in report["epochs"]] == [1, 2, 3]
    best = max(report["epochs"], key=lambda epoch: epoch["hr@5"])
    assert report["best"] == best
    assert report["targets_per_epoch"] == 60 * 10  # of ten training events each
    # Sequences: 60 of nine places, 60 of two, padded to eight: seven and eight fit 64.
    steps = {"two_tower": 10, "sequence": 9 + 8}
    assert report["steps_per_epoch"] == steps[trained.config.model.family]
    for epoch in report["epochs"]:
        assert epoch["users"] == 60 and epoch["seconds"] > 0
        assert epoch["targets"] == 60 * 10  # an epoch is a pass


def test_training_learns(trained):
    report = json.loads((trained.run_dir / "training.json").read_text())

    assert report["epochs"][-1]["loss"] < report["epochs"][0]["loss"]
    last = report["epochs"][-1]
    assert last["hr@10"] > 0.8  # a user likes ten of forty items; chance is a quarter


def test_a_step_is_traced_once(trained):
    assert trained.model.train_function.experimental_get_tracing_count() == 1


def test_checkpoints_are_gone_when_the_model_is_exported(trained):
    assert not (trained.run_dir.parent / "checkpoints").exists()


def test_logs_for_tensorboard_are_written(trained):
    assert list(trained.run_dir.rglob("events.out.tfevents*"))


def test_equal_seeds_train_equal_models(log):
    config = changed(epochs=1, deterministic=True)
    try:
        weights = [run(log, seeded)[0].get_weights() for seeded in (config, config)]
        other = run(log, config.model_copy(update={"seed": 2}))[0].get_weights()
    finally:
        framework_config.disable_op_determinism()

    for one, two in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, two)
    assert any(not np.array_equal(one, two) for one, two in zip(weights[0], other, strict=True))


@pytest.mark.parametrize(
    "sections",
    [
        {
            "model": {
                "loss": {"name": "full_softmax", "label_smoothing": 0.1},
                "normalize": True,
                "temperature": 0.1,
                "learn_temperature": True,
                "tie_item_tables": True,
                "query": {"window": 4, "content_dim": 0, "use_time": True, "use_query": True},
                "candidate": {"hidden_units": [8], "features": ["title"]},
            },
            "optimizer": {"name": "adagrad", "clip_norm": 1.0},
        },
        {
            "model": {
                "history_features": False,
                "candidate": {"features": []},
                "input": {"targets_per_timeline": 2},
                "loss": {
                    "negatives": 16,
                    "in_batch": False,
                    "correct_sampling": False,
                    "exclude_history": False,
                },
            },
            "input": {"batch_size": 32},
            "validation": {"users": 10},
            "target_events": ["buy"],
            "exclude_seen": ["buy"],
            "steps_per_epoch": 3,
        },
    ],
    ids=["full", "bare"],
)
def test_every_option_trains(log, sections):
    _, report = run(log, changed(epochs=2, **sections))

    assert len(report["epochs"]) == 2
    assert all(np.isfinite(epoch["loss"]) for epoch in report["epochs"])


def test_patience_stops_and_the_best_epoch_stays(log):
    config = changed(epochs=9, validation={"patience": 1}, optimizer={"learning_rate": 1.0})
    model, report = run(log, config)

    assert len(report["epochs"]) < 9
    assert report["epochs"][-1]["hr@5"] <= report["best"]["hr@5"]
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_time_limit_ends_after_an_epoch(log):
    _, report = run(log, changed(epochs=9, max_minutes=1e-6))

    assert len(report["epochs"]) == 1


def test_a_clock_is_for_one_worker(log, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1", "b:1"]}}))
    with pytest.raises(ValueError, match="`max_minutes` is for one worker"):
        run(log, changed(max_minutes=1.0))


def test_no_such_target_event_is_an_error(log):
    with pytest.raises(ValueError, match="target_events"):
        run(log, changed(target_events=["rate"]))


@pytest.mark.parametrize(
    "sequence",
    [
        {"objective": "masked", "encoder": {"positions": "absolute", "use_time": True}},
        {"input": {"length": 5, "overlap": 2}, "encoder": {"block": "hstu", "use_time": True}},
        {"input": {"length": 5, "windows": "last"}, "encoder": {"block": "gru", "use_time": True}},
        {"input": {"length": 6, "length_multiple": 6}, "xla": True},
    ],
    ids=["masked", "overlap", "gru", "xla"],
)
def test_every_option_of_sequences_trains(log, sequence):
    values = SEQUENCE.model_dump() | {"epochs": 2}
    values["model"] = {"family": "sequence", "dim": 16, "input": {"length": 6}} | sequence
    _, report = run(log, retrieval_trainer(values))

    assert report["epochs"][1]["loss"] < report["epochs"][0]["loss"]


def test_sequences_train_for_all_epochs(log):
    """Epochs of sequences have unequally many batches; none of them ends the training."""
    sequence = {"family": "sequence", "dim": 16, "input": {"length": 3}, "encoder": {"blocks": 1}}
    values = SEQUENCE.model_dump() | {"epochs": 8, "input": {"batch_size": 16, "pool": 7}}
    _, report = run(log, retrieval_trainer(values | {"model": sequence}))

    assert len(report["epochs"]) == 8
    assert report["epochs"][-1]["loss"] < report["epochs"][0]["loss"]
