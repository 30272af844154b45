"""Throughput and cost of `vitrine export`: users and items a second.

    python -m benchmarks.export_throughput             # does what is missing
    python -m benchmarks.export_throughput --users 2 --items 10 --results-dir /tmp/small

MovieLens-1M (166 ratings a user), and the same log with its users copied under other ids, or its
movies; a copied movie is read by its genres, title and year, as one that training never saw. Each
model is trained for a few steps, for what it has learned costs nothing, and `vitrine export` runs
in a process of its own on the options that the configuration ships with.

`rows_per_second` is rows more over seconds more than with the log itself, so start-up, which
`startup_seconds` bounds (the whole export of the log itself), is not in it.
`core_hours_per_million` is processor time per row in the same way, of the whole tree of processes:
times what a core costs an hour, it is the cost of a million rows. `over_two_tower` is that of a row
relative to the two-tower's of the same seed. `again` is a second export, of which nothing has
changed.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.command import UNGATED
from benchmarks.command import vitrine
from benchmarks.environment import ROOT
from benchmarks.environment import prepare_log
from benchmarks.guim_ablation import OF_SEQUENCE
from benchmarks.process_tree import read_samples
from benchmarks.process_tree import run_sampled
from benchmarks.results import DIRECTORY
from benchmarks.results import Label
from benchmarks.results import Results
from benchmarks.results_table import render
from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import USERS_TABLE
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.event_log_writer import write_event_log
from tfx_pipeline.export.files import MANIFEST
from transforms.arrow import pa
from transforms.arrow import pc

NAME = "export_throughput"
COMMAND = f"python -m benchmarks.{NAME}"
COLUMNS = (
    "model", "table", "rows_per_second", "core_hours_per_million", "over_two_tower",
    "startup_seconds", "runs",
)  # fmt: skip
BASELINE = "two_tower"
MODELS: dict[str, tuple[str, tuple[str, ...]]] = {
    BASELINE: ("movielens_1m", ()),
    "sequence": (
        "movielens_1m_sequence",
        tuple(f"retrieval.trainer.{change}" for change in OF_SEQUENCE),
    ),
    "guim": ("movielens_1m_guim", ()),
}
BRIEF = (
    "retrieval.trainer.epochs=1",
    "retrieval.trainer.steps_per_epoch=20",
    *UNGATED,
    "retrieval.serving_validation.enabled=false",
    "retrieval.sources.enabled=false",
)


class Export(NamedTuple):
    """What an export took.

    Attributes:
        rows: Of each table.
        seconds: Wall time.
        cpu_seconds: Processor time.
    """

    rows: dict[str, int]
    seconds: float
    cpu_seconds: float


def copy_log(log_dir: Path, target: Path, users: int, items: int) -> Path:
    """Writes a log with its users and its catalogue so many times, unless it is there.

    Args:
        log_dir: Of the event log.
        target: Directory of the new one.
        users: How often each user is in it, with all events.
        items: How often each row of the catalogue; events name the first.

    Returns:
        `target`.
    """
    if not target.exists():
        log = EventLog(log_dir)
        write_event_log(
            target,
            log.manifest,
            _copied(log.read(EVENTS_TABLE), "user_id", users),
            _copied(log.read(CATALOGUE_TABLE), "entity_id", items),
            _copied(log.read(USERS_TABLE), "user_id", users),
        )
    return target


def _copied(table: pa.Table, column: str, times: int) -> pa.Table:
    at, field = table.column_names.index(column), table.schema.field(column)
    copies = [
        table.set_column(at, field, pc.binary_join_element_wise(table[column], str(copy), "-"))
        for copy in range(1, times)
    ]
    return pa.concat_tables([table, *copies])


def run_export(run_dir: Path, log_dir: Path, out: Path) -> Export:
    """Runs `vitrine export` of what a run trained last."""
    command = [sys.executable, "-m", "tfx_pipeline.cli", "export", str(run_dir), "--trained"]
    command += ["--out", str(out), "--set", f"log_dir={log_dir}"]
    with tempfile.TemporaryDirectory() as folder:
        samples, output = Path(folder, "samples.csv"), Path(folder, "output.log")
        started = time.perf_counter()
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
        run_sampled(command, samples, output, 0.2, cwd=ROOT, env=environment)
        seconds = time.perf_counter() - started
        cpu_seconds = read_samples(samples)[-1].cpu_seconds
    tables = json.loads((out / MANIFEST).read_text(encoding="utf-8"))["tables"]
    return Export({name: told["rows"] for name, told in tables.items()}, seconds, cpu_seconds)


def run_twice(run_dir: Path, log_dir: Path, out: Path) -> tuple[Export, Export]:
    """Runs an export, and then again, when nothing has changed."""
    shutil.rmtree(out, ignore_errors=True)
    return run_export(run_dir, log_dir, out), run_export(run_dir, log_dir, out)


def measure(
    model: str, seed: int, copies: dict[str, int], log_dir: Path, runs_dir: Path
) -> dict[str, dict[str, float]]:
    """Trains a model and exports the log and its copies.

    Args:
        model: Of `MODELS`.
        seed: Of the training.
        copies: Of users and of items, by table.
        log_dir: Of the event log.
        runs_dir: Of the run, the copies and the exports, which are removed again.

    Returns:
        By table, and of the second export, the columns of the row.
    """
    config, changes = MODELS[model]
    run_dir, out = runs_dir / model, runs_dir / "export"
    given = (f"log_dir={log_dir}", f"run_dir={run_dir}", f"retrieval.trainer.seed={seed}")
    vitrine("run", config, settings=(*given, *changes, *BRIEF))
    once = run_twice(run_dir, log_dir, out)
    measured = {}
    for table, number in copies.items():
        times = dict.fromkeys(copies, 1) | {table: number}
        copied = copy_log(log_dir, runs_dir / f"{number}-times-{table}", **times)
        pairs = zip(once, run_twice(run_dir, copied, out), strict=True)
        for name, (few, many) in zip((table, f"{table}, again"), pairs, strict=True):
            rows = many.rows[table] - few.rows[table]
            cpu_seconds = many.cpu_seconds - few.cpu_seconds
            measured[name] = {
                "rows_per_second": rows / (many.seconds - few.seconds),
                "core_hours_per_million": cpu_seconds / rows * 1e6 / 3600,
                "startup_seconds": few.seconds,
            }
    shutil.rmtree(out)
    return measured


def keep(results: Results, model: str, seed: int, options: argparse.Namespace) -> None:
    """Measures a model, unless that is done already."""
    copies = {"users": options.users, "items": options.items}
    once = functools.cache(
        functools.partial(measure, model, seed, copies, options.log_dir, options.runs_dir)
    )

    def row(table: str, key: dict[str, Label], configuration: dict[str, int]) -> dict[str, float]:
        found, cost = once()[table], "core_hours_per_million"
        baseline = results.find(key | {"model": BASELINE}, seed, configuration)
        if model == BASELINE or baseline is None:
            return found
        return found | {"over_two_tower": found[cost] / baseline.values[cost]}

    for table, number in copies.items():
        for name in (table, f"{table}, again"):
            key: dict[str, Label] = {"model": model, "table": name}
            configuration = {"copies": number}
            one = functools.partial(row, name, key, configuration)
            results.measure(key, seed, one, configuration)


def main() -> None:
    """Measures what is missing, keeps it and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=tuple(MODELS), help="one model")
    parser.add_argument("--users", type=int, default=6, help="copies of each user")
    parser.add_argument("--items", type=int, default=60, help="copies of each movie")
    parser.add_argument("--log-dir", type=Path, default=ROOT / "data" / "movielens-1m")
    parser.add_argument("--runs-dir", type=Path, default=ROOT / "runs" / "benchmarks" / NAME)
    parser.add_argument("--results-dir", type=Path, default=DIRECTORY)
    options = parser.parse_args()
    results = Results(NAME, COMMAND, options.fresh, options.results_dir)
    prepare_log(options.log_dir, "movielens-1m")
    for seed in range(options.seeds):
        for model in (options.only,) if options.only else MODELS:
            keep(results, model, seed, options)
    print(render(results.path, results.having(COLUMNS)))


if __name__ == "__main__":
    main()
