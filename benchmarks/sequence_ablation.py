"""Ablation of the sequence model on MovieLens-1M.

    python -m benchmarks.sequence_ablation             # does what is missing
    python -m benchmarks.sequence_ablation --only hstu

Smaller than the headline's model, for so many trainings take hours: d 64, two heads, three
epochs of 240 steps (half the data, unless a row has fewer windows), and six times the learning
rate, with which so few steps get furthest.
Each row changes one thing; the test split is ranked as in the headline's protocol, by
the model itself and not through the pipeline, in the epoch that 2,000 users of the
validation split found best.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.environment import ROOT
from benchmarks.results import Results
from benchmarks.results_table import render
from benchmarks.training_run import is_same_training
from benchmarks.training_run import measure_trainings
from benchmarks.training_run import run_training
from models.config import RetrievalTrainerConfig
from tfx_pipeline.config_file import load_config
from tfx_pipeline.runners.transformed import transformed_log

NAME = "sequence_ablation"
CONFIG = "movielens_1m_sequence"
MEASURED = ("hr@10", "hr@50", "ndcg@10")
SMALLER = (
    "model.dim=64",
    "model.encoder.heads=2",
    "epochs=3",
    "steps_per_epoch=240",
    "optimizer.learning_rate=0.006",
    "validation.users=2000",
)
SAMPLED = ("model.loss={name: sampled_softmax, negatives: 512}",)
ALONE = (*SAMPLED, "model.loss.in_batch=false")  # the batch's other targets are no negatives
# Row -> what it changes.
ROWS: dict[str, tuple[str, ...]] = {
    "base": (),
    "sampled, in-batch and mixed": SAMPLED,
    "sampled, mixed": ALONE,
    "sampled, uniform": (*ALONE, "model.loss.uniform_share=1.0"),
    "sampled, popularity": (*ALONE, "model.loss.uniform_share=0.0"),
    "sampled, without logQ": (*SAMPLED, "model.loss.correct_sampling=false"),
    "gBCE, uniform": ("model.loss={name: gbce, negatives: 512, uniform_share: 1.0}",),
    "masked items": ("model.objective=masked",),
    "cosine, temperature 0.1": ("model.normalize=true", "model.temperature=0.1"),
    "cosine, temperature 0.05": ("model.normalize=true", "model.temperature=0.05"),
    "positions: rotary": ("model.encoder.positions=rotary",),
    "positions: absolute": ("model.encoder.positions=absolute",),
    "positions: none": ("model.encoder.positions=none",),
    "with user attributes": ("model.encoder.use_user_attributes=true",),
    "without item features": ("model.candidate.features=[]",),
    "one table for history and candidates": ("model.tie_item_tables=true",),
    "seen items are negatives": ("model.loss.exclude_history=false",),
    "newest window alone": ("model.input.windows=last",),
    "block: hstu": ("model.encoder.block=hstu",),
    "block: gru": ("model.encoder.block=gru",),
    "float32": ("precision=float32",),
    "2 interests": ("model.interests=2",),
    "4 interests": ("model.interests=4",),
    "8 interests": ("model.interests=8",),
}


def main() -> None:
    """Trains what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--log-dir", type=Path, default=ROOT / "data" / "movielens-1m")
    options = parser.parse_args()
    command = f"python -m benchmarks.{NAME}"
    results = Results(NAME, command, options.fresh, is_same=is_same_training)
    run_dir = ROOT / "runs" / "benchmarks" / NAME
    config = load_config(CONFIG, (f"log_dir={options.log_dir}", f"run_dir={run_dir}"))
    data = transformed_log(config)

    def measured(trainer: RetrievalTrainerConfig) -> dict[str, float]:
        test = run_training(trainer, data)["test"]
        return {metric: test[metric] for metric in MEASURED}

    rows = {name: (CONFIG, (*SMALLER, *changes)) for name, changes in ROWS.items()}
    measure_trainings(results, rows, options.seeds, options.only, measured)
    print(render(results.path, ("row", *MEASURED, "seconds", "runs"), 4))


if __name__ == "__main__":
    main()
