"""Every source of candidates alone, and joined, on six event logs.

    python -m benchmarks.sources                                    # does what is missing
    python -m benchmarks.sources --only amazon-beauty --seeds 1

Rows of a log: what is `popularity` and what `neighbours` reach (counted on the training part),
`two_tower` and `sequence` with `retrieval.sources.enabled: false`; `joined_two_tower` and
`joined_sequence` with all sources, which is the default; `joined`, the one of these two whose
servable was better on the validation split (each half of its users ordered by what the other half
taught); and `template`: `template.yaml` with nothing said but places and task. The task of a log
is the same for all of its rows: what is predicted, how the log is divided, and what is not
recommended again, which `vitrine data import` proposes where hardly anybody comes back. Logs
without a configuration of their own (Taobao, H&M) are trained with the template's, so that
`template` is `joined` with its two-tower.

All figures are out of TFMA, on the test split, through the servable's own signature.
`without_history` are those of all users, asked as if nothing were known of them; `unseen` those of
users whose target nobody had in training; both absent where there are none.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.command import UNGATED
from benchmarks.command import vitrine
from benchmarks.environment import ROOT
from benchmarks.results import DIRECTORY
from benchmarks.results import Results
from benchmarks.results import Run
from benchmarks.results_table import render
from tfx_pipeline.config_file import load_config
from tfx_pipeline.datasets.download import SourceFile
from tfx_pipeline.datasets.download import obtain

NAME = "sources"
COUNTED = {"popularity": "most_popular/", "neighbours": "neighbours/"}
FAMILIES = ("two_tower", "sequence")
JOINED = {family: f"joined_{family}" for family in FAMILIES}
ROWS = (*COUNTED, *FAMILIES, *JOINED.values(), "joined", "template")
MEASURED = ("hr@10", "ndcg@10")
SLICES = {"without_history": "slice/activity=0", "unseen": "slice/target_popularity=unseen"}
COLUMNS = ("data", "model", *MEASURED, *(f"{name}_{MEASURED[1]}" for name in SLICES))
COLUMNS += ("runs", "seconds")
_CHOSEN_BY = f"validation_{MEASURED[1]}"
_UNGATED = (
    *UNGATED,
    "retrieval.index.max_latency_ms=1e9",
    "retrieval.serving_validation.enabled=false",
    "retrieval.trainer.tensorboard=false",
    "ranking=null",
)
# What `vitrine data import` proposes for a log in which hardly anybody comes back to an item.
_ONCE = 'exclude_seen=["*"]'
_LEAVE_ONE_OUT = (
    "timeline.split=leave-last-out",
    "timeline.validation_days=0",
    "timeline.test_days=0",
)
# What the figures depend on, besides the code.
_SHARED = ("target_events", "candidate_types", "exclude_seen", "timeline", "transform")
_SECTIONS: dict[str, Any] = {**dict.fromkeys(_SHARED, True), "retrieval": {"trainer", "sources"}}


@dataclass(frozen=True)
class Log:
    """An event log and its task.

    Attributes:
        name: What the rows are named by, and `vitrine data prepare` knows.
        task: `key=value` pairs that the template needs for the same task.
        configs: A configuration for each of `FAMILIES`; none for the template's.
        options: Of `vitrine data prepare`, or of `import` where `files` are given.
        files: Files below `$VITRINE_DATA_HOME` that are imported.
    """

    name: str
    task: tuple[str, ...]
    configs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def settings(self, row: str) -> tuple[str, tuple[str, ...]]:
        """Returns the configuration of a row, and `key=value` pairs in which it differs."""
        if row in FAMILIES and self.configs:
            return self.configs[FAMILIES.index(row)], ()
        family = row if row in FAMILIES else FAMILIES[0]
        return "template", (*self.task, f"retrieval.trainer.model={family}")


LOGS = (
    Log("movielens-1m", (*_LEAVE_ONE_OUT, _ONCE), ("movielens_1m", "movielens_1m_sequence")),
    Log("amazon-beauty", (*_LEAVE_ONE_OUT, _ONCE), ("amazon_beauty_two_tower", "amazon_beauty")),
    Log(
        "retailrocket",
        (*_LEAVE_ONE_OUT, "timeline.min_target_events=10"),
        ("retailrocket_two_tower", "retailrocket"),
    ),
    Log("taobao", ("timeline.validation_days=1", "timeline.test_days=1")),
    Log(
        "hm",
        _LEAVE_ONE_OUT,
        options=(
            *("--user", "customer_id", "--item", "article_id", "--order", "file"),
            *("--event-type", "buy", "--title", "prod_name", "--category", "index_name"),
            *("--category", "product_group_name", "--category", "product_type_name"),
            *("--attribute", "colour_group_name", "--attribute", "section_name"),
            *("--attribute", "graphical_appearance_name"),
        ),
        files=("hm/transactions_train.csv.gz", "hm/articles.csv.gz"),
    ),
    Log(
        "shop",
        (
            "target_events=[click, cart, buy]",
            "candidate_types=[item]",
            "timeline.validation_days=5",
            "timeline.test_days=5",
        ),
        ("shop_demo", "shop_sequence"),
    ),
)


def main() -> None:
    """Runs what is missing and prints the table."""
    options = _parse()
    results = Results(NAME, f"python -m benchmarks.{NAME}", options.fresh, options.results_dir)
    logs = [log for log in LOGS if log.name in (options.only or log.name)]
    for log in logs:
        prepare(log, options.data_dir / log.name)
    for seed in range(options.seeds):
        for log in logs:
            places = (options.data_dir / log.name, options.runs_dir / log.name)
            measure(results, log, places, seed, options.rows)
    order = [(log.name, row) for log in LOGS for row in ROWS]
    results.runs.sort(
        key=lambda run: (order.index((str(run.key["data"]), str(run.key["model"]))), run.seed)
    )
    results.save()
    print(render(results.path, COLUMNS))


def prepare(log: Log, log_dir: Path) -> None:
    """Prepares or imports an event log where it is absent."""
    if log_dir.exists():
        return
    command = ["prepare", log.name]
    if log.files:
        sources = (SourceFile(name, homepage="") for name in log.files)
        events, catalogue = (str(obtain(source)) for source in sources)
        command = ["import", events, *log.options, "--catalogue", catalogue]
    vitrine("data", *command, "--out", str(log_dir))


def measure(
    results: Results, log: Log, places: tuple[Path, Path], seed: int, rows: Sequence[str] = ROWS
) -> None:
    """Measures what is missing of a log with one seed.

    Args:
        results: Where the figures go.
        log: The event log.
        places: Its directory, and that of the runs, which share what they can.
        seed: Of the trainings.
        rows: The rows that are wanted.
    """

    def row(name: str, settings: tuple[str, tuple[str, ...]], sources: bool) -> Run:
        config, overrides = settings
        overrides += (*_UNGATED, "name=sources", f"retrieval.sources.enabled={sources}")
        overrides += (f"log_dir={places[0]}", f"run_dir={places[1]}")
        overrides += (f"retrieval.trainer.seed={seed + 1}",)
        wanted = load_config(config, overrides).model_dump(mode="json", include=_SECTIONS)
        del wanted["retrieval"]["trainer"]["seed"]

        def run() -> dict[str, float]:
            print(f"{log.name}, {name}, seed {seed} ...", flush=True)
            metrics = run_pipeline(config, overrides, places[1])
            for counted, prefix in COUNTED.items() if name in FAMILIES else ():
                values = partial(measured, metrics, prefix)
                results.measure({"data": log.name, "model": counted}, 0, values, seconds=0.0)
            return measured(metrics) | {_CHOSEN_BY: validated(metrics, sources)}

        return results.measure({"data": log.name, "model": name}, seed, run, wanted)

    for family in FAMILIES:
        if {family, JOINED[family], "joined"} & {*rows}:
            row(family, log.settings(family), sources=False)
    if {*JOINED.values(), "joined"} & {*rows}:  # the trainings are in TFX's cache
        found = [row(JOINED[family], log.settings(family), sources=True) for family in FAMILIES]
        better = max(found, key=lambda run: run.values[_CHOSEN_BY])
        key = {"data": log.name, "model": "joined"}
        results.measure(key, seed, lambda: better.values, better.configuration, better.seconds)
    if "template" in rows:
        row("template", log.settings("template"), sources=True)


def run_pipeline(config: str, overrides: Sequence[str], run_dir: Path) -> dict[str, Any]:
    """Runs the pipeline as a user does, and returns `metrics.json`."""
    pushed = run_dir / "pushed"
    shutil.rmtree(pushed, ignore_errors=True)  # no run is compared with one before
    vitrine("run", config, settings=overrides)
    metrics: dict[str, Any] = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))
    return metrics


def validated(metrics: Mapping[str, Any], sources: bool) -> float:
    """Returns what a run's servable reaches on the validation split.

    Args:
        metrics: Content of `metrics.json`.
        sources: Whether the servable joins sources: then their order was measured, and else the
            tower by the Trainer.
    """
    found = metrics["validation"]
    if sources:
        chosen = metrics["sources"]["chosen"]["with_history"]
        found = metrics["sources"]["validation"]["with_history"][chosen]
    return float(found[MEASURED[1]])


def measured(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Returns the test metrics of a run, those of slices under their name.

    Args:
        metrics: Content of `metrics.json`.
        prefix: Of what is measured beside the servable; empty for the servable.
    """
    found = {name: metrics["test"][prefix + name] for name in MEASURED}
    for name, group in SLICES.items():
        of_slice = metrics["slices"].get(group, {})
        found |= {
            f"{name}_{one}": of_slice[prefix + one] for one in MEASURED if prefix + one in of_slice
        }
    return found


def _parse() -> argparse.Namespace:
    """Reads the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=[log.name for log in LOGS], nargs="+", help="logs")
    parser.add_argument("--rows", choices=ROWS, nargs="+", default=ROWS)
    parser.add_argument("--data-dir", type=Path, default=ROOT / "data")
    parser.add_argument("--runs-dir", type=Path, default=ROOT / "runs" / "benchmarks" / NAME)
    parser.add_argument("--results-dir", type=Path, default=DIRECTORY)
    return parser.parse_args()


if __name__ == "__main__":
    main()
