"""Speed and memory of `vitrine data import`, on a CSV file of many gigabytes.

    python -m benchmarks.import_csv                       # 1 and 10 gigabytes
    python -m benchmarks.import_csv --gigabytes 1

The file has the events of `benchmarks.timeline_generation` (power-law activity and popularity, 60
events a user), with a session of 32 digits, and is written first, which is not in the time. The
import is a process of its own: `value` is its events by the seconds of its life, imports included,
`peak_megabytes` the most that it had in memory, with its children.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.environment import ROOT
from benchmarks.process_tree import read_samples
from benchmarks.process_tree import run_sampled
from benchmarks.process_tree import used_between
from benchmarks.results import Results
from benchmarks.timeline_generation import make_events
from transforms.arrow import csv
from transforms.arrow import pa
from transforms.arrow import pc

NAME = "import_csv"
BYTES_A_ROW = 96  # about
COLUMNS = ("user_id", "entity_id", "event", "timestamp", "value")
OPTIONS = (
    *("--user", "user_id", "--item", "entity_id", "--event", "event"),
    *("--time", "timestamp", "--value", "value", "--session", "session"),
)


def write_events(path: Path, events: int) -> None:
    """Writes a CSV file of a synthetic log's events."""
    draw = np.random.default_rng(0)
    schema = None
    with path.open("wb") as file:
        for table in make_events(events, pages=False, seed=0):
            digits = draw.integers(10**15, 10**16, (2, len(table)))
            halves = [pc.cast(pa.array(half), pa.string()) for half in digits]
            session = pc.binary_join_element_wise(*halves, "")
            rows = table.select(COLUMNS).append_column("session", session)
            options = csv.WriteOptions(include_header=schema is None)
            schema = rows.schema
            csv.write_csv(rows, file, options)


def run_once(gigabytes: float, scratch: Path | None) -> dict[str, float]:
    """Writes a file, imports it in a process of its own, and returns the values of a row."""
    events = int(gigabytes * 1e9 / BYTES_A_ROW)
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        folder = Path(directory)
        file, samples = folder / "events.csv", folder / "samples.csv"
        write_events(file, events)
        command = [sys.executable, "-m", "tfx_pipeline.cli", "data", "import", str(file)]
        command += [*OPTIONS, "--out", str(folder / "log")]
        load, started = os.getloadavg()[0], time.time()
        run_sampled(command, samples, folder / "output.txt", cwd=ROOT)
        ended = time.time()
        used = used_between(read_samples(samples), started, ended)
        return {
            "value": events / (ended - started),
            "file_gigabytes": file.stat().st_size / 1e9,
            "seconds": ended - started,
            "cpu_seconds": used.cpu_seconds,
            "peak_megabytes": used.peak_bytes / 2**20,
            "load_average": load,
        }


def main() -> None:
    """Measures what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[1.0, 10.0])
    parser.add_argument("--scratch", type=Path, help="a folder with space for file and log")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    options = parser.parse_args()
    results = Results(NAME, f"python -m benchmarks.{NAME}", options.fresh)
    for gigabytes in options.gigabytes:
        key = {"name": NAME, "unit": "events/s", "gigabytes": gigabytes}
        results.measure(key, 0, functools.partial(run_once, gigabytes, options.scratch))
    for row in results.rows():
        print(
            f"{row['file_gigabytes']:.2f} GB: {row['value']:,.0f} events/s, "
            f"{row['seconds']:,.0f} s, {row['peak_megabytes']:,.0f} MB"
        )


if __name__ == "__main__":
    main()
