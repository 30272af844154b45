"""Speed of the sources of candidates: NeighbourBuilder's Beam job, in events a second.

    python -m benchmarks.sources_speed                      # 1,000,000 and 10,000,000 events
    python -m benchmarks.sources_speed --events 1000000

The log is that of `benchmarks.timeline_generation` (power-law activity and popularity), its
timelines are made first and are not in the time. Each run is a process of its own, with Beam's
in-memory runner. `value` is training events by the seconds from the start of the job until the
lists are written; `peak_megabytes` is that of the process, imports included (about 600).
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
from pathlib import Path

from benchmarks.results import Results
from benchmarks.timeline_generation import make_log

MODE = "--direct_running_mode=in_memory"


def make_timelines(folder: Path, events: int) -> Path:
    """Writes a synthetic log and its timelines, unless they are there; returns where they are."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
    from tfx_pipeline.components.timeline_example_gen.job import generate

    log, examples = folder / f"{events}", folder / f"{events}-timelines"
    if not log.exists():
        make_log(log, events, pages=False)
    if not examples.exists():
        options = PipelineOptions([MODE])
        generate(str(log), str(examples), TimelineConfig(), lambda: beam.Pipeline(options=options))
    return examples


def run_once(folder: Path, events: int) -> dict[str, float]:
    """Counts in a process of its own and returns the values of a row."""
    examples = make_timelines(folder, events)
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks.sources_speed", "--child", str(examples)],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    values: dict[str, float] = json.loads(output.stdout.splitlines()[-1])
    return values


def child(examples: Path) -> dict[str, float]:
    """Counts in this process."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from serving.index.embedding.records import split_files
    from serving.sources.config import CountingConfig
    from tfx_pipeline.components.neighbour_builder.job import build

    train, catalogue = (split_files(examples / f"Split-{name}") for name in ("train", "catalogue"))
    load = os.getloadavg()[0]
    options = PipelineOptions([MODE])
    with tempfile.TemporaryDirectory() as directory:
        started, busy = time.perf_counter(), time.process_time()
        info = build(
            train,
            catalogue,
            Path(directory),
            CountingConfig(),
            lambda: beam.Pipeline(options=options),
        )
        seconds = time.perf_counter() - started
    return {
        "value": info["counts"]["events"] / seconds,
        "seconds": seconds,
        "cpu_seconds": time.process_time() - busy,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "neighbours": info["counts"]["neighbours"],
        "load_average": load,
    }


def main() -> None:
    """Measures what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--logs", type=Path, help="keep the synthetic logs here")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.child)))
        return
    results = Results("sources_speed", "python -m benchmarks.sources_speed", options.fresh)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.logs or Path(temporary)
        for events in options.events:
            key = {"name": f"neighbours_{events}_events", "unit": "events/s", "events": events}
            for seed in range(options.runs):
                results.measure(key, seed, functools.partial(run_once, folder, events))
    for row in results.rows():
        print(
            f"{row['name']:30}{row['value']:>12,.0f} {row['unit']}"
            f"{row.get('peak_megabytes', 0.0):>8,.0f} MB"
        )


if __name__ == "__main__":
    main()
