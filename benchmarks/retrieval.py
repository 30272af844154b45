"""Retrieval on one event log: simple baselines and trained models, a row each.

A benchmark says which log, which baselines and which configurations of the
pipeline; `main` does what is missing of it:

    python -m benchmarks.amazon_beauty                          # does what is missing
    python -m benchmarks.amazon_beauty --fresh                  # starts over
    python -m benchmarks.amazon_beauty --only baselines
    python -m benchmarks.amazon_beauty --only gru --seeds 1

Each user's last item is the test's target, the one before it the validation's, and all items of
the catalogue are ranked. Baselines are computed here from the event log, trained models by
`vitrine run`, whose `metrics.json` comes out of TFMA on the test split through the servable's own
signature. Baselines rank equal scores in the order of the catalogue. The order of
events with equal times is the log's own, `tie_order` of its manifest. `mrr` is that of the first
100 places. Every finished run is kept
at once.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.baselines import LONGEST
from benchmarks.baselines import BaselineSettings
from benchmarks.baselines import baselines
from benchmarks.command import UNGATED
from benchmarks.command import vitrine
from benchmarks.environment import ROOT
from benchmarks.environment import prepare_log
from benchmarks.interactions import read_interactions
from benchmarks.results import DIRECTORY
from benchmarks.results import Results
from benchmarks.results_table import render
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.config_file import load_config
from tfx_pipeline.datasets.event_log import EventLog

MEASURED = ("hr@10", "hr@50", "hr@100", "ndcg@10", "mrr", "coverage@10")
COLUMNS = ("model", "hr@10", "hr@50", "ndcg@10", "mrr", "coverage@10", "runs", "seconds")
# What the figures of a trained model depend on, besides the code.
SHARED = ("target_events", "candidate_types", "exclude_seen", "timeline", "transform")
SECTIONS: dict[str, Any] = {**dict.fromkeys(SHARED, True), "retrieval": {"trainer"}}
BASELINES = "baselines"
# A row is the model alone (`benchmarks.sources` has the candidates joined).
_ALONE = ("retrieval.sources.enabled=false", *UNGATED)


@dataclass(frozen=True)
class Model:
    """A row that a configuration of the pipeline trains.

    Attributes:
        name: The row's name.
        config: A configuration that ships.
        overrides: `key=value` pairs in which the row differs from it.
    """

    name: str
    config: str
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Benchmark:
    """Measurements on one event log.

    Attributes:
        name: Name of the module and of the result file.
        source: The log's name for `vitrine data prepare`.
        tie_order: The order of equal times that the figures are for: it moves
            results, so a log with another one has a result file of its own.
        models: The trained rows.
        settings: What the baselines depend on.
    """

    name: str
    source: str
    tie_order: str
    models: tuple[Model, ...]
    settings: BaselineSettings = BaselineSettings()

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of all rows, in the order of the table."""
        return (*baselines(self.settings), *(model.name for model in self.models))

    def result_name(self, log_dir: Path) -> str:
        """Returns the name of the result file for a log."""
        order = EventLog(log_dir).manifest.tie_order
        return self.name if order == self.tie_order else f"{self.name}_other_ties"


def run_baselines(
    results: Results, settings: BaselineSettings, log_dir: Path, names: tuple[str, ...] = ()
) -> None:
    """Computes the baselines that are missing; those of these names, or all."""
    missing = {
        name: baseline
        for name, baseline in baselines(settings).items()
        if name in (names or (name,))
        and results.find({"model": name}, 0, baseline.parameters) is None
    }
    if not missing:
        return
    data = read_interactions(log_dir)
    for name, baseline in missing.items():
        print(f"{name} ...", flush=True)
        results.measure({"model": name}, 0, partial(baseline.run, data), baseline.parameters)


def run_model(
    results: Results,
    model: Model,
    log_dir: Path,
    runs_dir: Path,
    seed: int,
    overrides: tuple[str, ...] = (),
) -> None:
    """Trains and evaluates a model with one seed, unless that is done already."""
    run_dir = runs_dir / model.name / f"seed-{seed}"
    settings = (*model.overrides, *_ALONE, *overrides)
    settings += (f"retrieval.trainer.seed={seed}", f"run_dir={run_dir}", f"log_dir={log_dir}")
    wanted = compared(load_config(model.config, settings))

    def run() -> dict[str, float]:
        print(f"{model.name}, seed {seed} ...", flush=True)
        vitrine("run", model.config, settings=settings)
        metrics = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))
        test = metrics["test"] | {"mrr": metrics["test"][f"mrr@{LONGEST}"]}
        return {name: test[name] for name in MEASURED}

    results.measure({"model": model.name}, seed, run, wanted)


def compared(config: PipelineConfig) -> dict[str, Any]:
    """Returns what the figures of a configuration depend on, but for the seed."""
    plain = config.model_dump(mode="json", include=SECTIONS)
    del plain["retrieval"]["trainer"]["seed"]
    return plain


def is_same(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Returns whether a kept configuration says what the wanted one says; see `Results`.

    Args:
        kept: The configuration of a kept run.
        wanted: What `compared` returns.
    """
    places = {"name": "kept", "log_dir": "kept", "run_dir": "kept"}
    try:
        return compared(PipelineConfig.model_validate({**kept, **places})) == wanted
    except ValueError:  # an option that it has is gone
        return False


def main(benchmark: Benchmark, arguments: list[str] | None = None) -> None:
    """Runs what is missing of a benchmark and prints the table."""
    options = _parse(benchmark, arguments)
    prepare_log(options.log_dir, benchmark.source)
    command = f"python -m benchmarks.{benchmark.name}"
    name = benchmark.result_name(options.log_dir)
    results = Results(name, command, directory=options.results_dir, is_same=is_same)
    simple = tuple(baselines(benchmark.settings))
    chosen = (options.only,) if options.only else benchmark.rows
    if options.only == BASELINES:
        chosen = simple
    models = [model for model in benchmark.models if model.name in chosen]
    if options.fresh:
        results.runs = [run for run in results.runs if run.key["model"] not in chosen]
        for model in models:
            shutil.rmtree(options.runs_dir / model.name, ignore_errors=True)
    if set(simple) & set(chosen):
        run_baselines(results, benchmark.settings, options.log_dir, chosen)
    for model in models:
        for seed in range(options.seeds):
            run_model(
                results,
                model,
                options.log_dir,
                options.runs_dir,
                seed,
                tuple(options.overrides),
            )
    order = {name: place for place, name in enumerate(benchmark.rows)}
    results.runs.sort(key=lambda run: (order.get(str(run.key["model"]), len(order)), run.seed))
    results.save()
    print(render(results.path, COLUMNS))


def _parse(benchmark: Benchmark, arguments: list[str] | None) -> argparse.Namespace:
    """Reads the options of the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{benchmark.name}")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=(BASELINES, *benchmark.rows), help="one row, or these")
    parser.add_argument("--log-dir", type=Path, default=ROOT / "data" / benchmark.source)
    runs = ROOT / "runs" / "benchmarks" / benchmark.name
    parser.add_argument("--runs-dir", type=Path, default=runs)
    parser.add_argument("--results-dir", type=Path, default=DIRECTORY)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    return parser.parse_args(arguments)
