"""Ablation of GUIM on MovieLens-1M.

    python -m benchmarks.guim_ablation             # does what is missing
    python -m benchmarks.guim_ablation --only vector --seeds 1

Shorter than the headline's training, for so many trainings take hours: 1,000 steps, two epochs
of the known part of the log (`benchmarks.embeddings_movielens_1m`); 64 dimensions. Rows are named
by what they change. `hr@10` and `ndcg@10` are those of the last known movie of each user, all
movies ranked; `score` and `next_item` are the suite's, of users as they are before that movie.
`narrow` and `diverse` are `next_item` among the quarters of users whose known movies' genres
have the lowest and the highest entropy.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.embeddings_movielens_1m import MOVIELENS
from benchmarks.embeddings_movielens_1m import prepare_divided
from benchmarks.embeddings_movielens_1m import values_of
from benchmarks.environment import ROOT
from benchmarks.results import DIRECTORY
from benchmarks.results import Results
from benchmarks.results_table import render
from benchmarks.training_run import Rows
from benchmarks.training_run import is_same_training
from benchmarks.training_run import measure_trainings
from benchmarks.training_run import run_training
from models.config import RetrievalTrainerConfig
from tfx_pipeline.config_file import load_config
from tfx_pipeline.evaluation.embeddings import metrics
from tfx_pipeline.evaluation.embeddings.log import DividedLog
from tfx_pipeline.evaluation.embeddings.log import read_divided
from tfx_pipeline.evaluation.embeddings.pair_tasks import next_ranks
from tfx_pipeline.evaluation.embeddings.suite import Suite
from tfx_pipeline.evaluation.embeddings.task import align
from tfx_pipeline.evaluation.embeddings.user_tasks import category_shares
from tfx_pipeline.evaluation.embeddings.vectors import Embeddings
from tfx_pipeline.evaluation.embeddings.vectors import read_embeddings
from tfx_pipeline.runners.transformed import Transformed
from tfx_pipeline.runners.transformed import transformed_log

NAME = "guim_ablation"
GUIM, SEQUENCE = "movielens_1m_guim", "movielens_1m_sequence"
COLUMNS = (
    "row", "hr@10", "ndcg@10", "score", "next_item", "narrow", "diverse", "seconds", "runs",
)  # fmt: skip
SHORTER = ("epochs=1", "steps_per_epoch=1000", "validation.users=2000")
OF_SEQUENCE = ("model.dim=64", "optimizer.learning_rate=0.005")
# The rows' base, whatever the configuration has.
BASE = ("model.loss.queue=4096", "model.diversity=0.01")
_DRAWN = "model.loss={{name: sampled_softmax, in_batch: false, queue: 0, negatives: {}}}"
_FULL = "model.loss={name: full_softmax}"


def guim(*changes: str) -> tuple[str, tuple[str, ...]]:
    """Returns a row of GUIM that differs from the base in these."""
    return GUIM, (*BASE, *changes)


ROWS: Rows = {
    "base": guim(),
    "sequence model": (SEQUENCE, OF_SEQUENCE),
    "1 vector": guim("model.interests=1"),
    "2 vectors": guim("model.interests=2"),
    "8 vectors": guim("model.interests=8"),
    "score: soft_best": guim("model.score=soft_best"),
    "score: best": guim("model.score=best"),
    "without diversity": guim("model.diversity=0"),
    "negatives: 256 drawn": guim(_DRAWN.format(256)),
    "negatives: 1,024 drawn": guim(_DRAWN.format(1024)),
    "negatives: 4,096 drawn": guim(_DRAWN.format(4096)),
    "negatives: the batch's": guim("model.loss.queue=0"),
    "negatives: a queue of 16,384": guim("model.loss.queue=16384"),
    "a queue of 16,384, without diversity": guim("model.loss.queue=16384", "model.diversity=0"),
    "a queue of 16,384, 1 vector": guim("model.loss.queue=16384", "model.interests=1"),
    "a queue of 16,384, 8 vectors": guim("model.loss.queue=16384", "model.interests=8"),
    "negatives: all, full softmax": guim(_FULL),
    "full softmax, 1 vector": guim(_FULL, "model.interests=1"),
    "full softmax, 8 vectors": guim(_FULL, "model.interests=8"),
    "full softmax, without diversity": guim(_FULL, "model.diversity=0"),
    "full softmax, 8 vectors, without diversity": guim(
        _FULL, "model.interests=8", "model.diversity=0"
    ),
    "full softmax, diversity 1": guim(_FULL, "model.diversity=1"),
    "without logQ": guim("model.loss.correct_sampling=false"),
    "ids alone": guim("model.candidate.features=[]"),
    "titles alone": guim("model.candidate.features=[title]"),  # MovieLens' end with the year
    "years alone": guim("model.candidate.features=[attributes]"),
    "fields, hardly an id": guim("model.candidate.id_dropout=0.95"),
    "no id dropout": guim("model.candidate.id_dropout=0"),
    "forwards: 0.5": guim("model.forwards=0.5"),
    "forwards: 0": guim("model.forwards=0"),
    "the next event alone": guim("model.future=1"),
    "normalize, temperature 0.1": guim("model.normalize=true", "model.temperature=0.1"),
}


def trained_embeddings(
    config: RetrievalTrainerConfig, data: Transformed
) -> tuple[dict[str, float], Embeddings]:
    """Trains, and returns the metrics of the test split and the embeddings."""
    with tempfile.TemporaryDirectory() as folder:
        report = run_training(config, data, embeddings=Path(folder))
        return report["test"], read_embeddings(Path(folder), "trained")


def category_entropy(log: DividedLog) -> np.ndarray:
    """Returns the entropy in nats of the categories of each user's known events, [U]."""
    shares = category_shares(log, log.known)
    logarithm = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logarithm).sum(axis=1))


def by_diversity(log: DividedLog, embeddings: Embeddings) -> dict[str, float]:
    """Returns NDCG@10 of `next_item` among the quarters of the least and most diverse users."""
    users, rank = next_ranks(log, align(embeddings, log))
    gain = metrics.discounted_gain(rank)
    entropy = category_entropy(log)[users]
    low, high = np.quantile(entropy, (0.25, 0.75))
    return {
        "narrow": float(gain[entropy <= low].mean()),
        "diverse": float(gain[entropy >= high].mean()),
    }


def main(arguments: list[str] | None = None) -> None:
    """Trains what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--log-dir", type=Path, default=ROOT / "data" / "movielens-1m")
    parser.add_argument("--divided-dir", type=Path, default=ROOT / "data" / "movielens-1m-divided")
    parser.add_argument("--runs-dir", type=Path, default=ROOT / "runs" / "benchmarks" / NAME)
    parser.add_argument("--results-dir", type=Path, default=DIRECTORY)
    options = parser.parse_args(arguments)
    command = f"python -m benchmarks.{NAME}"
    results = Results(NAME, command, options.fresh, options.results_dir, is_same_training)
    prepare_divided(MOVIELENS, options.log_dir, options.divided_dir)
    places = (f"log_dir={options.divided_dir / 'known'}", f"run_dir={options.runs_dir}")
    data = transformed_log(load_config(GUIM, places))

    @cache
    def suite() -> Suite:
        return Suite(read_divided(options.divided_dir))

    def measured(config: RetrievalTrainerConfig) -> dict[str, float]:
        test, embeddings = trained_embeddings(config, data)
        return {
            **{metric: test[metric] for metric in ("hr@10", "ndcg@10")},
            **values_of(suite().score(embeddings)),
            **by_diversity(suite().log, embeddings),
        }

    rows = {name: (config, (*SHORTER, *changes)) for name, (config, changes) in ROWS.items()}
    measure_trainings(results, rows, options.seeds, options.only, measured)
    print(render(results.path, COLUMNS, 4))


if __name__ == "__main__":
    main()
