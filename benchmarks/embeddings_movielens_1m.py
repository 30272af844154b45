"""Embeddings of the users and items of MovieLens-1M, or another log, judged by the suite.

    python -m benchmarks.embeddings_movielens_1m                    # does what is missing
    python -m benchmarks.embeddings_movielens_1m --only item2vec --seeds 1
    python -m benchmarks.embeddings_movielens_1m --export two_tower=data/embeddings --seed 0
    python -m benchmarks.embeddings_movielens_1m --source amazon-beauty   # to a file of its own

The last tenth of each user's ratings is later; the known part lacks users' attributes and movies'
genres. Rows of `BASELINES` are computed here from the known part (`category_counts` reads the
genres, too). `--export` adds what a model trained on `<divided-dir>/known` exports, or any other
embeddings of the form, as the run of one seed; with `--other-users` each user has another one's, as
a negative control. A task's column is its value, `score` the mean skill.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.embedding_baselines import BASELINES
from benchmarks.embedding_baselines import DIM
from benchmarks.embedding_baselines import TRAINING
from benchmarks.environment import ROOT
from benchmarks.environment import prepare_log
from benchmarks.results import DIRECTORY
from benchmarks.results import Results
from benchmarks.results_table import render
from tfx_pipeline.datasets.division import HIDEABLE
from tfx_pipeline.datasets.division import divide_log
from tfx_pipeline.evaluation.embeddings.log import DividedLog
from tfx_pipeline.evaluation.embeddings.log import read_divided
from tfx_pipeline.evaluation.embeddings.suite import TASKS
from tfx_pipeline.evaluation.embeddings.suite import Scored
from tfx_pipeline.evaluation.embeddings.suite import Suite
from tfx_pipeline.evaluation.embeddings.vectors import Embeddings
from tfx_pipeline.evaluation.embeddings.vectors import read_embeddings

MOVIELENS = "movielens-1m"
SHARE = 0.1
COLUMNS = ("embedding", "score", *(task.name for task in TASKS), "runs", "seconds")
SEEDLESS = ("constant", "counts", "category_counts")
BESIDE = ("recall@10", "recall@50")  # of next_item


def main(arguments: list[str] | None = None) -> None:
    """Measures what is missing and prints the table."""
    options = _parse(arguments)
    prepare_divided(options.source, options.log_dir, options.divided_dir)
    command = "python -m benchmarks.embeddings_movielens_1m"
    command += f" --source {options.source}" if options.source != MOVIELENS else ""
    name = f"embeddings_{options.source.replace('-', '_')}"
    results = Results(name, command, options.fresh, options.results_dir)

    @cache
    def log() -> DividedLog:
        return read_divided(options.divided_dir)

    @cache
    def suite() -> Suite:
        return Suite(log())

    for seed in range(options.seeds):
        for name in (options.only,) if options.only else BASELINES:
            if seed and name in SEEDLESS:
                continue
            if name != "category_counts" or log().categories.size:
                measure(results, suite, name, seed)
    for export in options.export:
        name, _, path = export.rpartition("=")
        measure_export(
            results, suite, name or Path(path).stem, Path(path), options.seed, options.other_users
        )
    order = {name: place for place, name in enumerate(BASELINES)}
    results.runs.sort(key=lambda run: (order.get(str(run.key["embedding"]), len(order)), run.seed))
    results.save()
    print(render(results.path, results.having(COLUMNS)))


def prepare_divided(
    source: str, log_dir: Path, divided_dir: Path, hide: Sequence[str] = HIDEABLE
) -> None:
    """Divides a log, and prepares it before, unless that is done already.

    Args:
        source: Of `vitrine data prepare`.
        log_dir: The event log.
        divided_dir: Of the two logs that it becomes.
        hide: What the known log lacks.
    """
    if not divided_dir.exists():
        prepare_log(log_dir, source)
        divide_log(log_dir, divided_dir, share=SHARE, hide=hide)


def measure(results: Results, suite: Callable[[], Suite], name: str, seed: int) -> None:
    """Makes and scores a baseline with one seed, unless that is done already."""

    def run() -> dict[str, float]:
        print(f"{name}, seed {seed} ...", flush=True)
        return values_of(suite().score(BASELINES[name](suite().log, seed)))

    configuration = {"share": SHARE, "dim": DIM, **TRAINING.get(name, {})}
    results.measure({"embedding": name}, seed, run, configuration)


def measure_export(
    results: Results,
    suite: Callable[[], Suite],
    name: str,
    path: Path,
    seed: int,
    other_users: bool = False,
) -> None:
    """Scores embeddings that are there; they replace an earlier run of name and seed."""
    results.runs = [r for r in results.runs if (r.key, r.seed) != ({"embedding": name}, seed)]
    embeddings = read_embeddings(path, name)
    if other_users:
        embeddings = exchange_users(embeddings, seed)

    def run() -> dict[str, float]:
        return values_of(suite().score(embeddings))

    results.measure({"embedding": name}, seed, run, {"share": SHARE, "export": True})


def exchange_users(embeddings: Embeddings, seed: int) -> Embeddings:
    """Gives each user what is another one's, or now and then the user's own: the control."""
    users = embeddings.users
    assert users is not None
    keys = np.random.default_rng(seed).permutation(users.keys)
    return replace(embeddings, users=replace(users, keys=keys))


def values_of(scored: Scored) -> dict[str, float]:
    """Returns the figures of a row."""
    tasks = {name: one.value for name, one in scored.values.items()}
    beside = {name: scored.readings["next_item"][name].value for name in BESIDE}
    assert scored.score is not None  # of users and items
    missing = {"missing_users": scored.missing_users, "missing_items": scored.missing_items}
    return {"score": scored.score.value, **tasks, **beside, **missing}


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    """Reads the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embeddings_movielens_1m")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--seeds", type=int, default=3, help="of the baselines")
    parser.add_argument("--only", choices=tuple(BASELINES), help="one row")
    parser.add_argument("--export", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument(
        "--other-users", action="store_true", help="exports' users have others' embeddings"
    )
    parser.add_argument("--seed", type=int, default=0, help="that the exports were trained with")
    parser.add_argument("--source", default=MOVIELENS, help="of `vitrine data prepare`")
    parser.add_argument("--log-dir", type=Path, help="data/SOURCE unless given")
    parser.add_argument("--divided-dir", type=Path, help="data/SOURCE-divided unless given")
    parser.add_argument("--results-dir", type=Path, default=DIRECTORY)
    options = parser.parse_args(arguments)
    options.log_dir = options.log_dir or ROOT / "data" / options.source
    options.divided_dir = options.divided_dir or ROOT / "data" / f"{options.source}-divided"
    return options


if __name__ == "__main__":
    main()
