"""Tests of the values that follow from the log."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from models.config import RetrievalTrainerConfig
from models.defaults import LogStatistics
from models.defaults import is_whole
from models.defaults import keys_of
from models.defaults import read
from models.defaults import resolve
from tfx_pipeline.config_file import CONFIGS
from tfx_pipeline.config_file import load_config

BEAUTY = LogStatistics(176_000, 22_363, 12_101, 153_776, 0.0, 22, True)
DENSE = LogStatistics(988_000, 6_040, 3_416, 987_528, 0.0, 560, True)
SESSIONS = LogStatistics(579_000, 130_903, 36_968, 448_777, 0.3, 15, False)
TINY = LogStatistics(60, 9, 8, 50, 0.1, 9, False)
HUGE = LogStatistics(40_000_000, 1_000_000, 90_000, 35_000_000, 0.2, 120, True)
LOGS = [BEAUTY, DENSE, SESSIONS, TINY, HUGE]

SHIPPED: dict[str, dict[str, Any]] = {
    "movielens_1m": {
        "epochs": 4,
        "steps_per_epoch": 0,
        "input.batch_size": 512,
        "input.pool": 1024,
        "optimizer.learning_rate": 0.001,
        "model.loss.name": "full_softmax",
        "model.dim": 64,
        "model.normalize": False,
        "model.temperature": 1.0,
        "model.query.window": 50,
        "model.query.dropout": 0.1,
        "model.query.item_dropout": 0.0,
        "model.query.use_time": False,
    },
    "movielens_1m_sequence": {
        "epochs": 10,
        "steps_per_epoch": 0,
        "input.batch_size": 2048,
        "input.pool": 8192,
        "optimizer.learning_rate": 0.001,
        "model.loss.name": "full_softmax",
        "model.dim": 128,
        "model.normalize": False,
        "model.temperature": 1.0,
        "model.input.length": 200,
        "model.encoder.blocks": 2,
        "model.encoder.dropout": 0.2,
        "model.encoder.event_dropout": 0.0,
        "model.encoder.use_time": False,
    },
    "amazon_beauty": {
        "epochs": 30,
        "steps_per_epoch": 69,
        "input.batch_size": 2048,
        "input.pool": 8192,
        "optimizer.learning_rate": 0.003,
        "model.loss.name": "sampled_softmax",
        "model.loss.negatives": 1024,
        "model.dim": 256,
        "model.normalize": True,
        "model.temperature": 0.05,
        "model.input.length": 50,
        "model.encoder.blocks": 1,
        "model.encoder.dropout": 0.4,
        "model.encoder.event_dropout": 0.2,
        "model.encoder.use_time": False,
    },
    "amazon_beauty_two_tower": {
        "epochs": 20,
        "steps_per_epoch": 0,
        "input.batch_size": 512,
        "input.pool": 1024,
        "optimizer.learning_rate": 0.002,
        "model.loss.name": "sampled_softmax",
        "model.dim": 128,
        "model.normalize": True,
        "model.temperature": 0.05,
        "model.query.window": 50,
        "model.query.dropout": 0.5,
        "model.query.item_dropout": 0.2,
        "model.query.use_time": False,
    },
    "retailrocket": {
        "epochs": 12,
        "steps_per_epoch": 440,
        "input.batch_size": 1024,
        "input.pool": 8192,
        "optimizer.learning_rate": 0.008,
        "model.loss.name": "sampled_softmax",
        "model.dim": 128,
        "model.normalize": True,
        "model.temperature": 0.05,
        "model.input.length": 50,
        "model.encoder.blocks": 1,
        "model.encoder.dropout": 0.2,
        "model.encoder.event_dropout": 0.0,
        "model.encoder.use_time": False,
    },
    "retailrocket_two_tower": {
        "epochs": 4,
        "optimizer.learning_rate": 0.002,
        "model.dim": 128,
        "model.query.dropout": 0.2,
        "model.query.item_dropout": 0.2,
        "model.query.window": 50,
    },
    "shop_demo": {
        "epochs": 5,
        "input.batch_size": 512,
        "input.pool": 1024,
        "optimizer.learning_rate": 0.001,
        "model.loss.name": "sampled_softmax",
        "model.dim": 64,
        "model.normalize": False,
        "model.temperature": 1.0,
        "model.query.window": 50,
        "model.query.dropout": 0.2,
        "model.query.item_dropout": 0.2,
        "model.query.use_time": True,
    },
    "shop_sequence": {
        "epochs": 5,
        "input.batch_size": 2048,
        "input.pool": 1024,
        "optimizer.learning_rate": 0.001,
        "model.dim": 64,
        "model.normalize": False,
        "model.input.length": 100,
        "model.encoder.blocks": 2,
        "model.encoder.dropout": 0.2,
        "model.encoder.event_dropout": 0.0,
        "model.encoder.use_time": True,
    },
}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_tuned_configuration_keeps_its_values_on_every_log(name: str) -> None:
    trainer = load_config(name).retrieval.trainer
    assert is_whole(trainer)
    values = trainer.model_dump(mode="json")
    assert {key: read(values, key) for key in SHIPPED[name]} == SHIPPED[name]
    assert resolve(trainer, HUGE) == (trainer, {})


def test_every_shipped_configuration_but_the_template_is_whole() -> None:
    gaps = [
        path.stem
        for path in CONFIGS.glob("*.yaml")
        if not is_whole(load_config(path.stem).retrieval.trainer)
    ]
    assert gaps == ["template"]


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("family", ["two_tower", "sequence"])
def test_the_template_is_whole_on_every_log_and_says_why(family: str, log: LogStatistics) -> None:
    trainer = load_config("template", (f"retrieval.trainer.model={family}",)).retrieval.trainer
    whole, chosen = resolve(trainer, log)
    assert is_whole(whole) and set(chosen) == set(keys_of(family))
    assert all(choice.reason for choice in chosen.values())
    values = whole.model_dump(mode="json")
    assert all(read(values, key) is not None for key in chosen)
    assert resolve(whole, log) == (whole, {})


def _whole(log: LogStatistics, **values: Any) -> RetrievalTrainerConfig:
    return resolve(RetrievalTrainerConfig.model_validate(values), log)[0]


def test_a_sparse_log_gets_directions_and_dropout_and_a_dense_one_the_exact_softmax() -> None:
    sparse, dense = _whole(BEAUTY), _whole(DENSE)
    assert (sparse.model.normalize, sparse.model.temperature) == (True, 0.05)
    assert (dense.model.normalize, dense.model.temperature) == (False, 1.0)
    assert sparse.model.loss.name == "sampled_softmax" and dense.model.loss.name == "full_softmax"
    assert (sparse.model.dim, dense.model.dim) == (128, 64)
    assert sparse.model.query.dropout > dense.model.query.dropout
    assert (sparse.optimizer.learning_rate, dense.optimizer.learning_rate) == (0.002, 0.001)
    assert (dense.epochs, dense.steps_per_epoch) == (4, 0)  # 3 million targets


def test_few_users_with_long_histories_get_short_windows_and_large_batches() -> None:
    few = LogStatistics(61_542, 815, 41_960, 61_542, 0.23, 219, True)
    whole = _whole(few, model="sequence")
    assert (whole.model.input.length, whole.model.encoder.blocks) == (50, 1)
    assert whole.input.batch_size == 2048  # 40 windows, in 31 steps an epoch
    longer = _whole(few, model={"family": "sequence", "input": {"length": 200}})
    assert longer.model.encoder.blocks == 2
    fewer = dataclasses.replace(few, targets=7_000)
    assert _whole(fewer, model="sequence").input.batch_size == 512


def test_a_given_key_decides_what_follows_from_it() -> None:
    model = {"family": "sequence", "dim": 96, "normalize": True, "encoder": {"heads": 3}}
    whole = _whole(BEAUTY, model=model)
    assert (whole.model.dim, whole.model.temperature) == (96, 0.05)
    assert whole.optimizer.learning_rate == 0.006  # 0.768 / 96 is more
    assert _whole(BEAUTY, model={"normalize": False}).model.temperature == 1.0
    assert _whole(BEAUTY, model={"family": "sequence", "encoder": {"heads": 3}}).model.dim == 258


def test_a_chosen_window_is_within_the_context_of_a_chunk() -> None:
    for model in ("two_tower", "sequence"):
        assert _whole(DENSE, model=model, context_events=30).model.longest_window == 30
    assert _whole(DENSE, model="sequence").model.longest_window == 200
    assert _whole(BEAUTY, model="sequence").model.longest_window == 50
    with pytest.raises(ValueError, match="`last_items`"):
        _whole(DENSE, model={"query": {"last_items": 40}}, context_events=30)


def test_a_large_log_is_read_about_once_and_validated_on_the_way() -> None:
    whole = _whole(HUGE)
    assert whole.input.batch_size == 1024
    assert whole.steps_per_epoch == 977  # about a million targets
    assert whole.epochs == 8  # eight million
    given = _whole(HUGE, epochs=2)
    assert (given.epochs, given.steps_per_epoch) == (2, 0)  # passes over all of it
