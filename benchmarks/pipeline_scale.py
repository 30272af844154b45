"""Time and memory of every component of the pipeline, by the number of events.

    python -m benchmarks.pipeline_scale                     # 1, 3 and 10 million events
    python -m benchmarks.pipeline_scale --events 100000 --data-dir data/scale

The log is the simulated shop's without impressions: ten events a user and as many items as
users (100,000 of each for a million events). The pipeline is `vitrine run` with a two-tower
and all sources joined, one epoch over all targets, a test of five days; gates are off. A run that
was stopped goes on with the component that it stopped in, and sizes that are done are kept.

`seconds` are ML Metadata's. `cpu_seconds` and `peak_bytes` are those of the whole tree of
processes while the component ran, sampled twice a second; components share a process, so that
a peak holds what those before it have left. `log_events` is how many events came out.
`exponent` is the slope of log processor time over log events between the two largest sizes.
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import shutil
import sys
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import ROOT
from benchmarks.process_tree import read_samples
from benchmarks.process_tree import run_sampled
from benchmarks.process_tree import used_between
from benchmarks.results import DIRECTORY
from benchmarks.results import Label
from benchmarks.results import Results
from transforms.arrow import pa
from transforms.arrow import parquet_file
from transforms.arrow import pc
from transforms.arrow import read_table

SIZES = (1_000_000, 3_000_000, 10_000_000)
EVENTS_A_USER = 10
EVERYTHING = "all components"
PREDICTED = 1_000_000_000  # events
WORKERS = 100
# What a Beam runner spreads over workers; everything else is one process, whatever the size.
ON_BEAM = {
    "timeline-example-gen",
    "statistics-gen",
    "transform",
    "neighbour-builder",
    "index-builder",
    "evaluator",
}

_SETTINGS = {
    "name": "scale",
    "target_events": "[click, cart, buy]",
    "candidate_types": "[item]",
    "timeline.validation_days": 5,
    "timeline.test_days": 5,
    "timeline.split": "time-cut",
    "retrieval.trainer.model.dim": 64,
    "retrieval.trainer.model.query.window": 50,
    "retrieval.trainer.input.batch_size": 512,
    "retrieval.trainer.epochs": 1,
    "retrieval.trainer.steps_per_epoch": 0,
    "retrieval.trainer.tensorboard": "false",
    "retrieval.index.min_recall": 0.0,
    "retrieval.index.max_latency_ms": 1e9,
    "retrieval.evaluation.min_users": 1,
    "retrieval.evaluation.beats_neighbours": "null",
}


def make_log(events: int, data_dir: Path) -> Path:
    """Simulates a shop of about so many events besides impressions, unless it is there."""
    from tfx_pipeline.datasets.event_log import Manifest
    from tfx_pipeline.datasets.event_log import write_event_log
    from tfx_pipeline.datasets.shop.config import ShopConfig
    from tfx_pipeline.datasets.shop.generate import prepare_shop

    path, whole = data_dir / str(events), data_dir / f"{events}-with-impressions"
    if path.exists():
        return path
    size = max(1_000, events // EVENTS_A_USER)
    config = ShopConfig(
        users=size, items=size, images=False, truth_users=0, sessions_scale=0.95, seed=0
    )
    made = prepare_shop(whole, config, overwrite=True)
    write_event_log(
        path,
        Manifest(name="shop", version=made.version, source="the simulated shop, no impressions"),
        _tables(whole / "events", keep_impressions=False),
        _tables(whole / "catalogue"),
        _tables(whole / "users"),
    )
    shutil.rmtree(whole)
    return path


def _tables(folder: Path, keep_impressions: bool = True) -> Iterator[pa.Table]:
    for file in sorted(folder.rglob("*.parquet")):
        table = read_table(file)
        if not keep_impressions:
            table = table.filter(pc.not_equal(table["event"], "impression"))
        yield table


def count_events(log: Path) -> int:
    """Returns how many events the log has."""
    count = 0
    for path in (log / "events").rglob("*.parquet"):
        with parquet_file(path) as file:
            count += file.metadata.num_rows
    return count


def run_pipeline(events: int, data_dir: Path) -> dict[str, dict[str, float]]:
    """Runs every component, or those that an earlier run had not finished.

    Returns:
        For each component the columns of its row, and of all of them together.
    """
    from tfx_pipeline.runners.recorded import COMPLETE
    from tfx_pipeline.runners.recorded import read_runs

    log, run_dir = make_log(events, data_dir), data_dir / f"{events}-run"
    run_dir.mkdir(parents=True, exist_ok=True)
    settings = {**_SETTINGS, "log_dir": log, "run_dir": run_dir}
    command = [sys.executable, "-m", "tfx_pipeline.cli", "run", "template"]
    command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    samples = run_dir / "samples.csv"
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    run_sampled(command, samples, run_dir / "output.log", cwd=ROOT, env=environment)
    taken = read_samples(samples)
    measured = {}
    for step in (step for run in read_runs(run_dir) for step in run.steps.values()):
        if step.state != COMPLETE:  # answered from the cache, or stopped and run again
            continue
        start = step.started.timestamp()
        used = used_between(taken, start, start + step.seconds)
        measured[step.node] = {"seconds": step.seconds, **used._asdict()}
    made = float(count_events(log))
    columns = {name: [row[name] for row in measured.values()] for name in measured["trainer"]}
    measured[EVERYTHING] = {
        name: max(values) if name == "peak_bytes" else sum(values)
        for name, values in columns.items()
    }
    return {component: values | {"log_events": made} for component, values in measured.items()}


def measure(results: Results, events: int, data_dir: Path) -> None:
    """Measures one size, unless it is there."""
    last: dict[str, Label] = {"component": EVERYTHING, "events": events}
    if results.find(last) is not None:
        return
    once = functools.cache(functools.partial(run_pipeline, events, data_dir))
    for component in once():
        # The row of all components is written last: with it the size is done.
        key: dict[str, Label] = {"component": component, "events": events}
        found = functools.partial(_row, once, component)
        results.measure(key, 0, found, seconds=once()[component]["seconds"])


def _row(once: Any, component: str) -> dict[str, float]:
    found: dict[str, float] = once()[component]
    return found


def predict(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Extrapolates each component from the two largest sizes that were measured.

    With c1 and c2 seconds of processor time at n1 < n2 events, `exponent` is
    log(c2 / c1) / log(n2 / n1), `per_event_us` the slope (c2 - c1) / (n2 - n1) in microseconds,
    and `start_seconds` what is left at no events. At N events W workers, of one core each, take
    start + slope N / W seconds where Beam spreads a component, and start + slope N where not.
    `core_hours` are those of all workers for as long as the component runs; multiply them by what
    a core costs.

    Args:
        rows: `component`, `log_events`, `cpu_seconds`.

    Returns:
        By component; nothing with fewer than two sizes.
    """
    found = {}
    measured = [row for row in rows if "log_events" in row]
    for component in dict.fromkeys(row["component"] for row in measured):
        points = sorted(
            (row["log_events"], row["cpu_seconds"])
            for row in measured
            if row["component"] == component
        )
        idle = any(seconds <= 0.0 for _, seconds in points[-2:])  # shorter than a sample
        if len(points) < 2 or component == EVERYTHING or idle:
            continue
        (fewer, less), (more, most) = points[-2:]
        slope = max(0.0, (most - less) / (more - fewer))
        start = max(0.0, most - slope * more)
        workers = WORKERS if component in ON_BEAM else 1
        seconds = start + slope * PREDICTED / workers
        found[component] = {
            "exponent": math.log(most / less) / math.log(more / fewer),
            "start_seconds": start,
            "per_event_us": 1e6 * slope,
            "predicted_hours": seconds / 3600,
            "core_hours": seconds * workers / 3600,
        }
    return found


def keep_predictions(results: Results) -> None:
    """Writes the rows of a billion events anew."""
    results.runs = [run for run in results.runs if run.key["events"] != PREDICTED]
    rows = predict(results.rows())
    for component, values in rows.items():
        key: dict[str, Label] = {"component": component, "events": PREDICTED}
        results.measure(key, 0, functools.partial(dict, values), seconds=0.0)
    if rows:
        total = {
            name: float(np.sum([values[name] for values in rows.values()]))
            for name in ("predicted_hours", "core_hours")
        }
        everything: dict[str, Label] = {"component": EVERYTHING, "events": PREDICTED}
        results.measure(everything, 0, lambda: total, seconds=0.0)


def plot(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws processor time and peak memory of every component over the events."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "pipeline_scale"  # the same figure is the same file
    matplotlib.rcParams["svg.fonttype"] = "none"  # letters stay letters
    from matplotlib import pyplot

    measured = [row for row in rows if "peak_bytes" in row and row["component"] != EVERYTHING]
    figure, axes = pyplot.subplots(2, 1, figsize=(8, 10), layout="constrained")
    panels = (("cpu_seconds", 1.0, "processor time, s"), ("peak_bytes", 2.0**30, "peak, GiB"))
    for axis, (column, unit, label) in zip(axes, panels, strict=True):
        for number, component in enumerate(dict.fromkeys(row["component"] for row in measured)):
            points = sorted(
                (row["events"], row[column] / unit)
                for row in measured
                if row["component"] == component
            )
            style = f"C{number % 10}" + ("o-", "s--")[number // 10 % 2]
            axis.plot(*zip(*points, strict=True), style, label=component)
        axis.set(xscale="log", yscale="log", xlabel="events", ylabel=label)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize="x-small", ncols=2)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    """Measures the sizes that are missing, extrapolates and draws."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, nargs="+", default=SIZES)
    parser.add_argument("--data-dir", type=Path, default=Path("data/scale"), help="logs and runs")
    parser.add_argument("--results-dir", type=Path, default=DIRECTORY)
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    options = parser.parse_args()
    results = Results(
        "pipeline_scale", "python -m benchmarks.pipeline_scale", options.fresh, options.results_dir
    )
    for events in options.events:
        measure(results, events, options.data_dir.absolute())
        keep_predictions(results)
        plot(results.rows(), options.results_dir / "pipeline_scale.svg")
    for row in results.rows():
        if "peak_bytes" in row:
            print(
                f"{row['component']:24}{row['events']:>12,}{row['seconds']:>9.1f} s"
                f"{row['cpu_seconds']:>9.1f} s{row['peak_bytes'] / 2**30:>7.2f} GiB"
            )


if __name__ == "__main__":
    main()
