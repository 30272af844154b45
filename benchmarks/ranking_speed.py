"""Training speed and quality of DIN beside DIN in PyTorch (DeepCTR-Torch).

    python -m benchmarks.ranking_speed                  # does what is missing
    python -m benchmarks.ranking_speed --only speed

The examples of `benchmarks.ranking_shop`, one core and one thread each, in turn; an example is
a candidate of a page. Both read the same: the item's id and categories, as the candidate and in the
newest 50 events, and the user's attributes. Both have 32 numbers an item, attention layers of
64 and 32, an MLP of 128 and 64, no crosses, dropout 0.1, Adam at 0.003 and about 1,024 examples
a step (ours: 128 pages). The CPU time of the process is what is divided, for other work on a
machine stretches the wall time of either. See `benchmarks.peers.din_torch` for why it is a fair
peer.

- `examples_per_second_ratio`: ours, from the files to the updated weights, over the peer's `fit`.
- `examples_per_second_ratio_relu`: with ReLU, as ours, for Dice in the peer's attention.
- `auc_over_peer`: AUC on the test pages over the peer's, both after one pass over the training
  pages, with ReLU and embeddings that start with the same deviation.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import ROOT
from benchmarks.peers.environment import run_peer
from benchmarks.ranking_run import TEST
from benchmarks.ranking_run import VALIDATION
from benchmarks.ranking_run import run_ranking
from benchmarks.ranking_shop import BENCHMARK
from benchmarks.results import Results
from benchmarks.results_table import render
from benchmarks.sequence_training import use_cores
from models.config import RankingTrainerConfig
from tfx_pipeline.runners.transformed import Transformed

NAME = "ranking_speed"
DEEPCTR = "deepctr"  # benchmarks/peers/requirements-deepctr.txt
EPOCHS = 1
WARM_UP, STEPS = 10, 100
SPEED_EXAMPLES = 30_000  # of the peer's
OVERRIDES = (
    "model.use_event_types=false",
    "model.use_time=false",
    "model.use_repeats=false",
    "model.use_query=false",
    "model.position_bias=false",
    "model.calibrate=false",
    "model.crosses=0",
    "model.candidate={features: [categories], id_dropout: 0.0}",
    "optimizer.schedule=constant",
    "validation.patience=0",
    f"epochs={EPOCHS}",
)


def main() -> None:
    """Measures what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs")
    parser.add_argument("--only", choices=("speed", "quality"))
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--log-dir", type=Path, default=ROOT / "data" / "shop-ranking")
    runs = ROOT / "runs" / "benchmarks" / BENCHMARK.name
    parser.add_argument("--run-dir", type=Path, default=runs, help="of timelines and Transform")
    parser.add_argument("--reuse", action="store_true", help="the last run's page examples")
    options = parser.parse_args()
    use_cores(1)
    results = Results(NAME, f"python -m benchmarks.{NAME}", options.fresh)
    data = BENCHMARK.examples(options.log_dir, options.run_dir, options.reuse)
    config = BENCHMARK.trainer_config("din", OVERRIDES)
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "pages.npz"
        export_pages(config, data, exported)
        for repetition in range(options.repetitions):
            if options.only != "quality":
                measure_speed(results, config, data, exported, repetition)
            if options.only != "speed":
                measure_quality(results, config, data, exported, repetition)
    print(render(results.path, ("name", "value", "runs"), 3))


def measure_speed(
    results: Results,
    config: RankingTrainerConfig,
    data: Transformed,
    exported: Path,
    repetition: int,
) -> None:
    """Measures examples a second of both, taking turns."""
    names = ("examples_per_second_ratio", "examples_per_second_ratio_relu")
    if all(results.find({"name": name}, repetition) for name in names):
        return
    started = time.perf_counter()
    own = examples_per_second(config, data)
    with tempfile.TemporaryDirectory() as folder:
        for name, activation in zip(names, ("Dice", "relu"), strict=True):
            out = Path(folder) / "din.json"
            report = run_peer(
                DEEPCTR,
                "din_torch",
                out,
                data=str(exported),
                activation=activation,
                epochs=2,
                max_examples=SPEED_EXAMPLES,
            )
            second = report["epochs"][1]
            peer = second["examples"] / second["cpu_seconds"]
            seconds = time.perf_counter() - started
            _keep(results, name, repetition, own / peer, seconds)
            _keep(results, f"peer_examples_per_second_{activation}", repetition, peer, seconds)
    _keep(results, "examples_per_second", repetition, own, seconds)


def measure_quality(
    results: Results,
    config: RankingTrainerConfig,
    data: Transformed,
    exported: Path,
    repetition: int,
) -> None:
    """Measures the AUC of both on the test pages."""
    if results.find({"name": "auc_over_peer"}, repetition):
        return
    started, rate = time.perf_counter(), config.optimizer.learning_rate
    own = run_ranking(config.model_copy(update={"seed": repetition + 1}), data)["test"]["auc"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "din.json"
        settings: dict[str, Any] = {"epochs": EPOCHS, "evaluate": True, "seed": repetition + 1}
        settings |= {"activation": "relu", "init_std": 0.05, "lr": rate}  # as ours
        peer = run_peer(DEEPCTR, "din_torch", out, data=str(exported), **settings)["test"]
    seconds = time.perf_counter() - started
    for name, value in (("auc_over_peer", own / peer), ("auc", own), ("peer_auc", peer)):
        _keep(results, name, repetition, value, seconds)


def _keep(results: Results, name: str, repetition: int, value: float, seconds: float) -> None:
    load = os.getloadavg()[0]
    results.measure(
        {"name": name}, repetition, lambda: {"value": value, "load": load}, None, seconds
    )


def examples_per_second(config: RankingTrainerConfig, data: Transformed) -> float:
    """Returns the candidates a second of CPU time that training takes, input included."""
    import tensorflow as tf

    import models  # noqa: F401  (before TensorFlow)
    from models.input import batch as b
    from models.ranking.model import RankingModel
    from models.training.learner import seed_everything
    from models.training.memory import keep_memory
    from models.training.optimizers import make_optimizer
    from models.training.replicas import WHOLE

    seed_everything(config)
    model = make_model(config, data)
    assert isinstance(model, RankingModel)
    model.compile(optimizer=make_optimizer(config.optimizer, 1))
    batches = iter(model.training_batches(training_data(data), WHOLE).repeat())
    step = tf.function(model.train_step, reduce_retracing=True)
    with keep_memory():
        for batch in islice(batches, WARM_UP):
            step(batch)
        examples, start = 0, time.process_time()
        for batch in islice(batches, STEPS):
            step(batch)
            examples += int(tf.reduce_sum(batch[b.CANDIDATE_LENGTH]))
    return examples / (time.process_time() - start)


def training_data(data: Transformed) -> Any:
    """Returns what a Trainer reads of the examples."""
    from models.training.data import TrainingData

    splits = (data.files(name) for name in ("train", "catalogue", VALIDATION))
    return TrainingData(data.output(), *splits)


def make_model(config: RankingTrainerConfig, data: Transformed) -> Any:
    """Makes the model without training it."""
    from models.families import find_family

    return find_family(config.model.family).load().of(config, training_data(data))


def export_pages(config: RankingTrainerConfig, data: Transformed, path: Path) -> None:
    """Writes what a peer reads: pages of each split, and the categories of items.

    Args:
        config: Of the model, which says what is read.
        data: The examples.
        path: An npz file: `categories` [V + 1, K], and of each split `history` [P, T], newest
            first, `length` [P], `attributes` [P, A], and for its candidates `row` [I],
            the page, `item` [I] and `label` [I].
    """
    import models  # noqa: F401  (before TensorFlow)
    from models.input.page_batches import evaluation_pages
    from models.training.replicas import WHOLE

    model, given = make_model(config, data), training_data(data)
    arrays = {"categories": model.features.items._tables["categories"].numpy()}
    splits = {
        "train": model.training_batches(given, WHOLE),
        "validation": evaluation_pages(data.files(VALIDATION), given.spec, model.pages),
        "test": evaluation_pages(data.files(TEST), given.spec, model.pages),
    }
    for split, batches in splits.items():
        pieces = [as_rows(batch) for batch in batches]
        first = np.cumsum([0, *(len(piece["length"]) for piece in pieces)])
        for name in pieces[0]:
            added = first if name == "row" else np.zeros_like(first)
            values = [piece[name] + start for piece, start in zip(pieces, added, strict=False)]
            arrays[f"{split}_{name}"] = np.concatenate(values)
    np.savez(path, **arrays)


def as_rows(batch: Any) -> dict[str, np.ndarray]:
    """Returns a batch of pages as `export_pages` writes it."""
    from models.input import batch as b

    length = batch[b.CANDIDATE_LENGTH].numpy()
    there = np.arange(batch[b.CANDIDATE_ENTITY].shape[1]) < length[:, None]
    return {
        "history": batch[b.HISTORY_ENTITY].numpy().astype(np.int32),
        "length": batch[b.HISTORY_LENGTH].numpy(),
        "attributes": batch[b.USER_ATTRIBUTES].numpy().astype(np.int32),
        "row": np.repeat(np.arange(len(length)), length),
        "item": batch[b.CANDIDATE_ENTITY].numpy()[there],
        "label": batch[b.LABEL].numpy()[there][:, 0],
    }


if __name__ == "__main__":
    main()
