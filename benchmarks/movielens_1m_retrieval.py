"""MovieLens-1M, leave-one-out by time, all items ranked, seen items excluded.

    python -m benchmarks.movielens_1m_retrieval            # does what is missing
    python -m benchmarks.movielens_1m_retrieval --fresh    # starts over
    python -m benchmarks.movielens_1m_retrieval --only baselines

Baselines are computed here from the same event log, the two-tower by
`vitrine run`, whose `metrics.json` comes out of TFMA on the test split through
the servable's own signature. Every finished run is kept at once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.baselines import DECAY
from benchmarks.baselines import EASE_LAMBDA
from benchmarks.baselines import EASE_RECENT_LAMBDA
from benchmarks.baselines import NEWEST
from benchmarks.baselines import baselines
from benchmarks.environment import ROOT
from benchmarks.interactions import read_interactions
from benchmarks.results import DIRECTORY
from benchmarks.results import Results
from benchmarks.results_table import render
from tfx_pipeline.config import load_config
from tfx_pipeline.datasets.event_log import EventLog

NAME = "movielens_1m_retrieval"
COMMAND = f"python -m benchmarks.{NAME}"
CONFIG = "movielens_1m"
SOURCE = "movielens-1m"
# The order of ratings with equal times moves results: a log with another
# order than the papers' file has a result file of its own.
PAPERS_ORDER = "sequences.txt.gz"
MEASURED = ("hr@10", "hr@50", "hr@100", "ndcg@10", "mrr", "coverage@10")
COLUMNS = ("model", "hr@10", "hr@50", "ndcg@10", "mrr", "coverage@10", "runs", "seconds")
PARAMETERS = {
    "item_cosine_recent": {"newest": NEWEST, "decay": DECAY},
    "ease": {"lambda": EASE_LAMBDA},
    "ease_recent": {"lambda": EASE_RECENT_LAMBDA, "newest": NEWEST, "decay": DECAY},
}
# What the figures of a trained model depend on, besides the code.
SECTIONS = ("target_events", "candidate_types", "exclude_seen", "timeline", "transform", "trainer")


def run_baselines(results: Results, log_dir: Path) -> None:
    """Computes the baselines that are missing."""
    missing = {
        name: run
        for name, run in baselines().items()
        if results.find({"model": name}, 0, PARAMETERS.get(name)) is None
    }
    if not missing:
        return
    data = read_interactions(log_dir)
    for name, run in missing.items():
        print(f"{name} ...", flush=True)
        results.measure({"model": name}, 0, partial(run, data), PARAMETERS.get(name))


def run_two_tower(
    results: Results, log_dir: Path, runs_dir: Path, seed: int, overrides: tuple[str, ...] = ()
) -> None:
    """Trains and evaluates the two-tower with one seed, unless that is done already."""
    run_dir = runs_dir / f"seed-{seed}"
    settings = (*overrides, f"trainer.seed={seed}", f"run_dir={run_dir}", f"log_dir={log_dir}")
    config = load_config(CONFIG, settings).model_dump(mode="json", include=set(SECTIONS))
    config["trainer"].pop("seed")

    def run() -> dict[str, float]:
        print(f"two_tower, seed {seed} ...", flush=True)
        arguments = [part for setting in settings for part in ("--set", setting)]
        command = [sys.executable, "-m", "tfx_pipeline.cli", "run", CONFIG, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        metrics = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))
        return {name: metrics["test"][name] for name in MEASURED}

    results.measure({"model": "two_tower"}, seed, run, config)


def result_name(log_dir: Path) -> str:
    """Returns the name of the result file for a log: another order of ties has another."""
    order = EventLog(log_dir).manifest.tie_order
    return NAME if order == PAPERS_ORDER else f"{NAME}_other_ties"


def main(arguments: list[str] | None = None) -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=("baselines", "two_tower"))
    parser.add_argument("--log-dir", type=Path, default=ROOT / "data" / SOURCE)
    parser.add_argument("--runs-dir", type=Path, default=ROOT / "runs" / "benchmarks" / NAME)
    parser.add_argument("--results-dir", type=Path, default=DIRECTORY)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    options = parser.parse_args(arguments)
    if not options.log_dir.exists():
        from tfx_pipeline.datasets.registry import prepare

        prepare(SOURCE, options.log_dir)
    name = result_name(options.log_dir)
    results = Results(name, COMMAND, options.fresh, options.results_dir)
    if options.fresh:
        shutil.rmtree(options.runs_dir, ignore_errors=True)
    if options.only != "two_tower":
        run_baselines(results, options.log_dir)
    if options.only != "baselines":
        for seed in range(options.seeds):
            run_two_tower(
                results, options.log_dir, options.runs_dir, seed, tuple(options.overrides)
            )
    print(render(results.path, COLUMNS))


if __name__ == "__main__":
    main()
