"""Training speed of the sequence model, beside SASRec in plain PyTorch.

    python -m benchmarks.sequence_training                     # does what is missing
    python -m benchmarks.sequence_training --only speed
    python -m benchmarks.sequence_training --only quality   # an hour or more; a killed one goes on

MovieLens-1M, leave-one-out by time, both on one core (`--cores`), one after the other; times are
of training alone, without validation, as each reports it. The column `load` is the machine's
before each: above that of the benchmark itself, another core was at work.

- `examples_per_second_ratio`: windows a second over the peer's, at the same model
  (one window of the newest 200 events a user, d 64, 2 blocks, 1 head, dropout 0.1,
  places, no item features), the same loss (cross-entropy over all items at every
  place, float32) and as many events in a batch: the second epoch of each.
- `..._bfloat16`: the same with products in bfloat16, which the processor has units for.
- `time_to_peer_quality_ratio`: training time of the peer until its best validation
  NDCG@10, over ours (configuration `movielens_1m_sequence`) until it has reached as much.
- `ndcg@10_over_peer`: test NDCG@10 of the two, each at its best validation.
- `step_time_ratio_items_1e6_over_1e4`: step time of the sampled softmax with 1,000,000
  items over that with 10,000, on batches with equally many distinct items.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import ROOT
from benchmarks.interactions import read_interactions
from benchmarks.peers.environment import run_sasrec
from benchmarks.peers.export import export_interactions
from benchmarks.results import Results
from benchmarks.results_table import render
from benchmarks.sequence_step import step_time_ratio
from benchmarks.training_run import is_same_training
from benchmarks.training_run import run_training
from models.config import RetrievalTrainerConfig
from models.fixed_values import retrieval_trainer
from tfx_pipeline.config_file import load_config
from tfx_pipeline.runners.transformed import Transformed
from tfx_pipeline.runners.transformed import transformed_log

NAME = "sequence_training"
CONFIG = "movielens_1m_sequence"
RUN_DIR = ROOT / "runs" / "benchmarks" / NAME
EVENTS = 13_800  # real events in a batch of the peer: 128 windows of 108 on average
QUALITY = (
    "peer_best_epoch",
    "peer_best_validation_ndcg@10",
    "peer_seconds_to_best",
    "seconds_to_peer_best",
    "peer_test_hr@10",
    "peer_test_ndcg@10",
    "test_hr@10",
    "test_ndcg@10",
    "ndcg@10_over_peer",
    "time_to_peer_quality_ratio",
)
# The peer's model, in our words.
PLAIN: dict[str, Any] = {
    "exclude_seen": ["*"],
    "model": {
        "family": "sequence",
        "loss": {"name": "full_softmax", "exclude_history": False},
        "dim": 64,
        "encoder": {
            "blocks": 2,
            "heads": 1,
            "dropout": 0.1,
            "positions": "absolute",
            "feed_forward_multiplier": 1,
        },
        "input": {"length": 200, "windows": "last"},
        "candidate": {"features": [], "id_dropout": 0.0},
    },
    "input": {"batch_size": EVENTS, "pool": 8192},
    "validation": {"monitor": "ndcg@10", "patience": 0},
    "epochs": 2,
    "tensorboard": False,
}


def main() -> None:
    """Measures what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs")
    parser.add_argument("--only", choices=("speed", "quality", "step"))
    parser.add_argument("--repetitions", type=int, default=3, help="of `speed` and `step`")
    parser.add_argument("--peer-epochs", type=int, default=100)
    parser.add_argument("--cores", type=int, default=1, help="that each of the two has")
    parser.add_argument("--log-dir", type=Path, default=ROOT / "data" / "movielens-1m")
    options = parser.parse_args()
    use_cores(options.cores)
    command = f"python -m benchmarks.{NAME}"
    results = Results(NAME, command, options.fresh, is_same=_is_same)
    wanted = (options.only,) if options.only else ("speed", "quality", "step")
    if "step" in wanted:
        for repetition in range(options.repetitions):
            _keep(results, "step_time_ratio_items_1e6_over_1e4", repetition, step_time_ratio)
    if {"speed", "quality"} & set(wanted):
        settings = (f"log_dir={options.log_dir}", f"run_dir={RUN_DIR}")
        config = load_config(CONFIG, settings)
        data = transformed_log(config)
        with tempfile.TemporaryDirectory() as folder:
            exported = Path(folder) / "interactions.npz"
            interactions = read_interactions(options.log_dir)
            export_interactions(interactions, exported)
            lengths = np.diff(interactions.starts)
            if "speed" in wanted:
                for repetition in range(options.repetitions):
                    _speed(results, data, lengths, exported, repetition, options.cores)
            if "quality" in wanted:
                assert config.retrieval
                _quality(results, config.retrieval.trainer, data, exported, options)
    print(render(results.path, ("name", "value", "load", "runs"), 3))


def use_cores(number: int) -> None:
    """Keeps this process and those that it starts to so many of the cores that it has."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:number])


def _is_same(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Compares what `_keep` or `_quality` keeps of the trainings behind a value."""
    return is_same_training(kept.get("trainer", kept), wanted.get("trainer", wanted))


def _keep(results: Results, name: str, repetition: int, measure: Any, **more: Any) -> float:
    """Keeps one value with the load before it; a value that is there is returned."""
    load = os.getloadavg()[0]
    run = results.measure(
        {"name": name}, repetition, lambda: {"value": measure(), "load": load}, more
    )
    return run.values["value"]


def _speed(
    results: Results,
    data: Transformed,
    lengths: np.ndarray,
    exported: Path,
    repetition: int,
    cores: int,
) -> None:
    """Measures windows a second of both, the second epoch of each."""
    keep = partial(_keep, results, repetition=repetition)
    peer = keep("peer_windows_per_second", measure=lambda: _peer_speed(exported, repetition, cores))
    for suffix, precision in (("", "float32"), ("_bfloat16", "mixed_bfloat16")):
        config = retrieval_trainer(PLAIN | {"precision": precision, "seed": repetition})
        own = keep(
            f"windows_per_second{suffix}",
            measure=lambda config=config: _own_speed(config, data, lengths),
            trainer=config.model_dump(mode="json"),
        )
        keep(
            f"examples_per_second_ratio{suffix}",
            measure=lambda own=own: own / peer,
            trainer=config.model_dump(mode="json"),
        )


def _peer_speed(exported: Path, seed: int, cores: int) -> float:
    report = run_sasrec(exported, exported.with_suffix(".json"), epochs=2, threads=cores, seed=seed)
    return float(report["epochs"][1]["windows_per_second"])


def _own_speed(config: RetrievalTrainerConfig, data: Transformed, lengths: np.ndarray) -> float:
    """Returns windows a second; an epoch is a pass, of one window a user."""
    return float(len(lengths) / run_training(config, data)["epochs"][1]["train_seconds"])


def _quality(
    results: Results,
    config: RetrievalTrainerConfig,
    data: Transformed,
    exported: Path,
    options: argparse.Namespace,
) -> None:
    """Measures training time until the peer's best validation NDCG@10, and both test results."""
    trainer = config.model_dump(mode="json")
    if results.find({"name": QUALITY[-1]}, 0, trainer) is not None:
        return
    load, started = os.getloadavg()[0], time.perf_counter()
    peer = run_sasrec(
        exported,
        RUN_DIR / "peer.json",
        epochs=options.peer_epochs,
        threads=options.cores,
        checkpoint=str(RUN_DIR / "peer.pt"),
    )
    own = run_training(config, data)
    best = peer["epochs"][peer["best_epoch"] - 1]
    aim, peer_seconds = best["validation"]["ndcg@10"], best["total_train_seconds"]
    if own["best"]["ndcg@10"] < aim:
        raise ValueError(f"Ours reached {own['best']['ndcg@10']:.4f}, the peer {aim:.4f}.")
    reached = next(i for i, epoch in enumerate(own["epochs"]) if epoch["ndcg@10"] >= aim)
    own_seconds = sum(epoch["train_seconds"] for epoch in own["epochs"][: reached + 1])
    values = {
        "peer_best_epoch": peer["best_epoch"],
        "peer_best_validation_ndcg@10": aim,
        "peer_seconds_to_best": peer_seconds,
        "seconds_to_peer_best": own_seconds,
        "peer_test_hr@10": peer["test"]["hr@10"],
        "peer_test_ndcg@10": peer["test"]["ndcg@10"],
        "test_hr@10": own["test"]["hr@10"],
        "test_ndcg@10": own["test"]["ndcg@10"],
        "ndcg@10_over_peer": own["test"]["ndcg@10"] / peer["test"]["ndcg@10"],
        "time_to_peer_quality_ratio": peer_seconds / own_seconds,
    }
    seconds = (time.perf_counter() - started) / len(QUALITY)
    for name in QUALITY:
        kept: partial[dict[str, float]] = partial(dict, value=values[name], load=load)
        results.measure({"name": name}, 0, kept, trainer, seconds)


if __name__ == "__main__":
    main()
