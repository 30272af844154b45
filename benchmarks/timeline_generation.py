"""Throughput of timeline generation, in events a second.

    python -m benchmarks.timeline_generation                 # 1,000,000 and 10,000,000 events
    python -m benchmarks.timeline_generation --events 1000000 --mode multi_processing

A synthetic log is written first (power-law activity and popularity, four event
types, values; with `--pages` result pages of ten impressions and queries too).
Each run is a process of its own. `value` counts from before the log's footers
are read until the report is written: planning, Beam's start-up and all four
splits (leave-last-out, so every history is written three times) are in it.
`seconds_with_imports` is the life of the process. The load average before the
run is kept with it, since whoever else uses the machine slows it down.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.results import Results
from transforms.arrow import pa

ITEMS = 100_000
EVENTS_A_USER = 60
PAGE_SIZE = 10
CHUNK = 524_288
START = 1_600_000_000_000_000
MODES = ("in_memory", "multi_threading", "multi_processing")


def make_events(events: int, pages: bool, seed: int) -> Iterator[pa.Table]:
    """Yields a log's events in pieces, in the order of time.

    Args:
        events: How many.
        pages: Whether six of ten events are impressions, ten on a page with a
            query, and the others happened on a page.
        seed: Seed of everything drawn.
    """
    generator = np.random.default_rng(seed)
    users = max(1, events // EVENTS_A_USER)
    weights = 1.0 / (np.arange(users) + 0.02 * users)
    edges = np.cumsum(weights / weights.sum())
    names = {
        "user": pa.array([f"user-{i}" for i in range(users)]),
        "item": pa.array([str(i) for i in range(ITEMS)]),
        "event": pa.array(["view", "click", "cart", "buy", "impression"]),
        "query": pa.array([f"query {i}" for i in range(1_000)]),
    }
    first, time_ = 0, START
    while first < events:
        size = min(CHUNK, events - first)
        visit = np.arange(size) // PAGE_SIZE if pages else np.arange(size)
        user = np.minimum(np.searchsorted(edges, generator.random(visit[-1] + 1)), users - 1)[visit]
        shown = (np.arange(size) % PAGE_SIZE < 6) & pages
        event = np.where(shown, 4, generator.choice(4, size, p=[0.7, 0.2, 0.06, 0.04]))
        times = time_ + np.cumsum(generator.integers(0, 2_000_000, size))
        columns = {
            "user_id": names["user"].take(pa.array(user)),
            "entity_type": pa.array(["item"]).take(pa.array(np.zeros(size, np.int64))),
            "entity_id": names["item"].take(
                pa.array(np.minimum(generator.zipf(1.2, size), ITEMS) - 1)
            ),
            "event": names["event"].take(pa.array(event)),
            "timestamp": pa.array(times),
            "ordinal": pa.array(np.arange(first, first + size)),
            "value": pa.array(generator.random(size, np.float32)),
        }
        if pages:
            columns["page_id"] = pa.array((first + visit).astype(str))
            columns["position"] = pa.array((np.arange(size) % PAGE_SIZE).astype(np.int32))
            columns["query"] = names["query"].take(pa.array(visit % 1_000))
        yield pa.table(columns)
        first, time_ = first + size, int(times[-1])


def make_log(path: Path, events: int, pages: bool, seed: int = 0) -> None:
    """Writes a synthetic event log."""
    from tfx_pipeline.datasets.event_log import Manifest
    from tfx_pipeline.datasets.event_log import write_event_log

    catalogue = pa.table(
        {
            "entity_type": ["item"] * ITEMS,
            "entity_id": [str(i) for i in range(ITEMS)],
            "title": [f"Title of item {i}" for i in range(ITEMS)],
            "available_from": np.full(ITEMS, START),
        }
    )
    write_event_log(path, Manifest(name="synthetic"), make_events(events, pages, seed), catalogue)


def run_once(log: Path, mode: str) -> dict[str, float]:
    """Generates timelines in a process of its own and returns the values of a row."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        output = subprocess.run(
            [sys.executable, "-m", "benchmarks.timeline_generation", "--child", mode]
            + ["--log", str(log), "--output", directory],
            check=True,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
    values: dict[str, float] = json.loads(output.stdout.splitlines()[-1])
    values["seconds_with_imports"] = time.perf_counter() - started
    return values


def child(log: str, output: str, mode: str) -> dict[str, float]:
    """Generates timelines in this process."""
    from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
    from tfx_pipeline.components.timeline_example_gen.job import generate
    from transforms.stack import make_pipeline

    workers = 1 if mode == "in_memory" else os.cpu_count()
    arguments = [f"--direct_running_mode={mode}", f"--direct_num_workers={workers}"]
    load = os.getloadavg()[0]
    started, busy = time.perf_counter(), time.process_time()
    report = generate(log, output, TimelineConfig(), lambda: make_pipeline(arguments))
    seconds = time.perf_counter() - started
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "value": report["rows"]["events"] / seconds,
        "seconds": seconds,
        "cpu_seconds": time.process_time() - busy + usage[1].ru_utime + usage[1].ru_stime,
        "peak_megabytes": max(part.ru_maxrss for part in usage) / 1024,
        "load_average": load,
    }


def main() -> None:
    """Measures what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--mode", choices=MODES, nargs="+", default=["in_memory"])
    parser.add_argument("--pages", action="store_true", help="logs with result pages")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--logs", type=Path, help="keep the synthetic logs here")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--child", choices=MODES, help=argparse.SUPPRESS)
    parser.add_argument("--log", help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.log, options.output, options.child)))
        return
    results = Results(
        "timeline_generation", "python -m benchmarks.timeline_generation", options.fresh
    )
    with tempfile.TemporaryDirectory() as temporary:
        for events in options.events:
            measure(results, events, options, options.logs or Path(temporary))
    print_table(results)


def measure(results: Results, events: int, options: argparse.Namespace, logs: Path) -> None:
    """Measures one size of log in all modes asked for."""
    log = logs / f"{events}{'-pages' if options.pages else ''}"
    name = "timeline_generation" + ("_with_pages" if options.pages else "")
    for mode in options.mode:
        key = {"name": name, "unit": "events/s", "events": events, "mode": mode}
        for seed in range(options.runs):
            if results.find(key, seed) is None and not log.exists():
                make_log(log, events, options.pages)
            results.measure(key, seed, functools.partial(run_once, log, mode))


def print_table(results: Results) -> None:
    """Prints one line a row."""
    print(f"{'what':30}{'events':>12}  {'mode':18}{'events/s':>10}{'s':>8}{'MB':>7}{'load':>6}")
    for row in results.rows():
        print(
            f"{row['name']:30}{row['events']:>12,}  {row['mode']:18}{row['value']:>10,.0f}"
            f"{row['seconds']:>8.1f}{row['peak_megabytes']:>7.0f}{row['load_average']:>6.1f}"
        )


if __name__ == "__main__":
    main()
