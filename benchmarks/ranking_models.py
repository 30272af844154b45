"""Ranking on one event log: every family of ranking models, a row each.

A benchmark says which log, how it is divided and which settings; `main` does what is missing:

    python -m benchmarks.ranking_shop                        # does what is missing
    python -m benchmarks.ranking_shop --fresh                # starts over
    python -m benchmarks.ranking_shop --only din --seeds 1

Each model is trained on the timelines of the split `train`. The epoch is chosen on
`validation_pages`, where scores are calibrated too; the rows are measured on `test_pages`. `auc`
is over all candidates, `gauc` over those of each user, weighted by how many these are;
`calibration` is clicks expected over clicks.
The control row is DIN again, where every page has the history of another page.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.environment import ROOT
from benchmarks.environment import prepare_log
from benchmarks.ranking_run import is_same_ranking
from benchmarks.ranking_run import run_ranking
from benchmarks.results import DIRECTORY
from benchmarks.results import Results
from benchmarks.results_table import render
from models.config import RankingTrainerConfig
from models.families import FAMILIES
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.config_file import set_key
from tfx_pipeline.runners.transformed import Transformed
from tfx_pipeline.runners.transformed import last_transformed
from tfx_pipeline.runners.transformed import transformed_log

RANKERS = tuple(family.name for family in FAMILIES if family.stage == "ranking")
CONTROL = "din_other_histories"
ORACLES = ("oracle", "oracle_without_position")
MEASURED = ("auc", "gauc", "log_loss", "calibration")
COLUMNS = ("model", *MEASURED, "way_to_oracle", "best_epoch", "runs", "seconds")
WAY = "way_to_oracle"
CHOICE: dict[str, Any] = {
    "validation": {"monitor": "auc", "patience": 1, "batches": -1},
    "tensorboard": False,
    "checkpoints": False,
}


@dataclass(frozen=True)
class RankingBenchmark:
    """A benchmark of ranking models on one event log.

    Attributes:
        name: Name of the module and of the result file.
        source: The log's name for `vitrine data prepare`.
        timeline: How the log is divided, with its `label`.
        trainer: What all models' Trainers have in common.
        models: What a family's model differs in from the common settings.
        options: Of the source.
        shared: Keys of a run's configuration that stand above its sections.
        has_truth: Whether the log has the truth beside it.
    """

    name: str
    source: str
    timeline: Mapping[str, Any]
    trainer: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    shared: Mapping[str, Any] = field(default_factory=dict)
    has_truth: bool = False

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of all rows, in the order of the table."""
        return (*RANKERS, CONTROL, *(ORACLES if self.has_truth else ()))

    def trainer_config(self, row: str, overrides: tuple[str, ...] = ()) -> RankingTrainerConfig:
        """Returns how a row's model is trained, but for the seed.

        Args:
            row: A family, or the control.
            overrides: `key=value` pairs in which it differs.
        """
        family = "din" if row == CONTROL else row
        common, shared = dict(self.trainer), dict(self.trainer.get("model", {}))
        fields = next(one for one in FAMILIES if one.name == family).config.model_fields
        model = {"family": family} | {key: shared[key] for key in shared if key in fields}
        common["model"] = model | dict(self.models.get(family, {}))
        values = CHOICE | common | {"label": self.timeline["label"]}
        for override in overrides:
            set_key(values, override)
        return RankingTrainerConfig.model_validate(values)

    def examples(self, log_dir: Path, run_dir: Path, reuse: bool = False) -> Transformed:
        """Prepares the log where it is absent, and transforms its timelines and pages.

        Args:
            log_dir: The event log.
            run_dir: Where artifacts are.
            reuse: Whether those of the last run there are taken as they are.
        """
        if reuse:
            return last_transformed(run_dir)
        prepare_log(log_dir, self.source, **self.options)
        values = {"name": self.name.replace("_", "-"), "timeline": dict(self.timeline)}
        places = {"log_dir": str(log_dir), "run_dir": str(run_dir)}
        return transformed_log(PipelineConfig.model_validate(values | places | dict(self.shared)))


def main(benchmark: RankingBenchmark, arguments: list[str] | None = None) -> None:
    """Runs what is missing of a benchmark and prints the table."""
    options = _parse(benchmark, arguments)
    command = f"python -m benchmarks.{benchmark.name}"
    results = Results(
        benchmark.name, command, directory=options.results_dir, is_same=is_same_ranking
    )
    chosen = (options.only,) if options.only else benchmark.rows
    if options.fresh:
        results.runs = [run for run in results.runs if run.key["model"] not in chosen]
    data = benchmark.examples(options.log_dir, options.run_dir, options.reuse)
    if benchmark.has_truth and set(chosen) & set(ORACLES):
        measure_oracle(results, data, options.log_dir)
    for seed in range(options.seeds):
        for row in chosen:
            if row not in ORACLES:
                config = benchmark.trainer_config(row, tuple(options.overrides))
                measure_model(results, row, config, data, seed)
    add_ways(results)
    order = {name: index for index, name in enumerate(benchmark.rows)}
    results.runs.sort(key=lambda run: (order.get(str(run.key["model"]), len(order)), run.seed))
    results.save()
    print(render(results.path, results.having(COLUMNS)))


def measure_oracle(results: Results, data: Transformed, log_dir: Path) -> None:
    """Measures what the truth says of the test pages."""
    from benchmarks.ranking_oracle import judge

    missing = [row for row in ORACLES if results.find({"model": row}) is None]
    if missing:
        found = judge(data, log_dir).metrics()
        for row in missing:
            results.measure({"model": row}, 0, partial(found.__getitem__, row))


def measure_model(
    results: Results, row: str, config: RankingTrainerConfig, data: Transformed, seed: int
) -> None:
    """Trains and measures a row with one seed, unless that is done already."""

    def run() -> dict[str, float]:
        print(f"{row}, seed {seed} ...", flush=True)
        given = config.model_copy(update={"seed": seed + 1})
        report = run_ranking(given, data, control=row == CONTROL)
        values = {name: report["test"][name] for name in (*MEASURED, "candidates")}
        best = report["best"]
        return values | {"validation_auc": best["auc"], "best_epoch": best["epoch"]}

    plain = config.model_dump(mode="json")
    del plain["seed"]
    results.measure({"model": row}, seed, run, plain)


def add_ways(results: Results) -> None:
    """Says of each run how much of the way from popularity's AUC to the oracle's it goes."""
    means = {row["model"]: row["auc"] for row in results.rows()}
    if not {"oracle", "popularity"} <= means.keys():
        return
    start, end = means["popularity"], means["oracle"]
    for run in results.runs:
        run.values[WAY] = (run.values["auc"] - start) / (end - start)


def _parse(benchmark: RankingBenchmark, arguments: list[str] | None) -> argparse.Namespace:
    """Reads the options of the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{benchmark.name}")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=benchmark.rows, help="one row")
    log_dir = (
        ROOT / "data" / (f"{benchmark.source}-ranking" if benchmark.options else benchmark.source)
    )
    parser.add_argument("--log-dir", type=Path, default=log_dir)
    runs = ROOT / "runs" / "benchmarks" / benchmark.name
    parser.add_argument("--run-dir", type=Path, default=runs, help="of timelines and Transform")
    parser.add_argument("--reuse", action="store_true", help="the last run's page examples")
    parser.add_argument("--results-dir", type=Path, default=DIRECTORY)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    return parser.parse_args(arguments)
