"""Two workers that a pipeline's Trainer waits for, killed once, against one worker."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.fixed_values import retrieval_trainer
from models.trainer import run_fn
from tests.helpers.workers import run_workers
from tests.models.conftest import SMALL
from tests.models.conftest import SmallLog

DYING = str(Path(__file__).parent / "run_fn_worker.py")
TARGETS = 600  # of the small log: 60 users with ten each
# Nothing is left to chance, and a step has all targets: the workers' halves are one batch.
CERTAIN = retrieval_trainer(
    SMALL.model_dump()
    | {
        "model": {
            "dim": 8,
            "candidate": {"id_dropout": 0.0},
            "query": {"window": 8, "hidden_units": [8], "dropout": 0.0, "item_dropout": 0.0},
            "loss": {"name": "full_softmax"},
        },
        "input": {"batch_size": TARGETS, "pool": 64},
        "optimizer": {"learning_rate": 0.01, "schedule": "constant", "clip_norm": 0.1},
        "epochs": 4,
    }
)


def arguments(log: SmallLog, folder: Path, **changes: Any) -> Any:
    """What TFX's Trainer hands to `run_fn`; `changes` are of the configuration."""
    config = CERTAIN.model_copy(update=changes).to_json()
    train = [str(log.examples / f"Split-{name}" / "*") for name in ("train", "catalogue")]
    return SimpleNamespace(
        train_files=train,
        eval_files=[str(log.examples / "Split-validation" / "*")],
        transform_graph_path=str(log.graph),
        serving_model_dir=str(folder / "model"),
        model_run_dir=str(folder / "runs" / "1"),
        custom_config={"stage": "retrieval", "config": config},
        base_model=None,
        hyperparameters=None,
    )


def saved(folder: Path) -> dict[str, np.ndarray]:
    """The weights of the exported towers by name."""
    reader = tf.train.load_checkpoint(str(folder / "model" / "variables" / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if ".ATTRIBUTES" in name]
    return {name: reader.get_tensor(name) for name in names}


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.nightly
def test_two_workers_that_were_killed_train_what_one_trains(log: SmallLog, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    trainer = threading.Thread(target=run_fn, args=[arguments(log, two, workers=2)], daemon=True)
    trainer.start()
    called = two / "runs" / "arguments.json"
    while not called.exists():
        assert trainer.is_alive()
        time.sleep(0.1)
    run_workers(two, 2, lambda index: [DYING, str(called)], status=9)
    assert list((two / "runs" / "checkpoints").glob("*/latest/ckpt-2.index"))
    run_workers(two, 2, lambda index: ["-m", "models.trainer", str(called)])
    assert "going on after epoch 2" in (two / "1.log").read_text()
    trainer.join(timeout=600)
    assert not trainer.is_alive()

    run_fn(arguments(log, one))

    reports = [
        json.loads((path / "runs" / "1" / "training.json").read_text()) for path in (two, one)
    ]
    (found, wanted) = (report["epochs"] for report in reports)
    assert len(found) == len(wanted) == 4 and len({epoch["loss"] for epoch in wanted}) == 4
    for there, here in zip(found, wanted, strict=True):
        assert there["targets"] == here["targets"] == TARGETS
        assert there["loss"] == pytest.approx(here["loss"], rel=1e-4)
        assert there["mrr@10"] == pytest.approx(here["mrr@10"], rel=1e-3)
    weights = saved(one)
    assert weights.keys() == saved(two).keys() and len(weights) > 5
    for name, value in saved(two).items():
        if value.dtype == np.float32:
            np.testing.assert_allclose(value, weights[name], atol=1e-4, err_msg=name)
    assert sorted(path.name for path in (two / "runs").iterdir()) == ["1"]
    assert not [path for path in (two / "runs" / "1").iterdir() if "worker" in path.name]
