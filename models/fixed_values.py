"""Fixed values for what follows from a log where there is none: benchmarks of steps, and tests."""

from __future__ import annotations

from typing import Any

from models.config import RetrievalTrainerConfig
from models.defaults import keys_of
from models.defaults import read
from models.defaults import write

_FIXED: dict[str, Any] = {
    "epochs": 10,
    "steps_per_epoch": 0,
    "input.batch_size": 512,
    "input.pool": 1024,
    "optimizer.learning_rate": 1e-3,
    "model.loss": "sampled_softmax",
    "model.dim": 64,
    "model.normalize": False,
    "model.temperature": 1.0,
    "model.query.window": 50,
    "model.query.dropout": 0.2,
    "model.query.item_dropout": 0.2,
    "model.query.use_time": False,
    "model.input.length": 200,
    "model.encoder.blocks": 2,
    "model.encoder.dropout": 0.2,
    "model.encoder.event_dropout": 0.0,
    "model.encoder.use_time": False,
}


def retrieval_trainer(values: dict[str, Any]) -> RetrievalTrainerConfig:
    """Makes a configuration of what is given, and of fixed values for the rest."""
    given = RetrievalTrainerConfig.model_validate(values)
    whole = given.model_dump(mode="json")
    for key in keys_of(given.model.family):
        if read(whole, key) is None:
            write(whole, key, _FIXED[key])
    return RetrievalTrainerConfig.model_validate(whole)
