"""Speed of the sources of candidates: NeighbourBuilder's job, and answers that join them.

    python -m benchmarks.sources_speed                      # 1,000,000 and 10,000,000 events
    python -m benchmarks.sources_speed --events 1000000

`recommend_*`: two servables of one training on MovieLens-1M, with the tower alone and with all
sources, are asked for 10 items at batch 1, in one process and by turns; the ratios are joined
over alone, of the wall time of a call. `served_*` are the same requests sent by the client to a
local server for each of the two: what a user of them waits for.

`neighbours_*`: the log is that of `benchmarks.timeline_generation` (power-law activity and
popularity), its timelines are made first and are not in the time. Each run is a process of its
own, with Beam's in-memory runner. `value` is training events by the seconds from the start of the
job until the lists are written; `peak_megabytes` is that of the process, imports included (about
600).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.command import vitrine
from benchmarks.environment import ROOT
from benchmarks.results import Results
from benchmarks.serving import local_server
from benchmarks.timeline_generation import make_log
from serving.client import Event
from serving.client import RecommenderClient
from serving.client import Request
from serving.client.calls import recommend_inputs
from serving.sources.combination import SOURCES_DIR
from transforms.stack import make_pipeline

MODEL = "sources"
_WARM_UP = 50  # calls of each servable before the clock
MODE = "--direct_running_mode=in_memory"


def make_timelines(folder: Path, events: int) -> Path:
    """Writes a synthetic log and its timelines, unless they are there; returns where they are."""
    from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
    from tfx_pipeline.components.timeline_example_gen.job import generate

    log, examples = folder / f"{events}", folder / f"{events}-timelines"
    if not log.exists():
        make_log(log, events, pages=False)
    if not examples.exists():
        generate(
            str(log), str(examples), TimelineConfig(), functools.partial(make_pipeline, [MODE])
        )
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
    from serving.index.embedding.records import split_files
    from serving.sources.config import CountingConfig
    from tfx_pipeline.components.neighbour_builder.job import build

    train, catalogue = (split_files(examples / f"Split-{name}") for name in ("train", "catalogue"))
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as directory:
        started, busy = time.perf_counter(), time.process_time()
        info = build(
            train,
            catalogue,
            Path(directory),
            CountingConfig(),
            functools.partial(make_pipeline, [MODE]),
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


def recommend_latency(run_dir: Path, requests: int) -> dict[str, float]:
    """Returns percentiles of `recommend` in milliseconds by name, and their ratios.

    Args:
        run_dir: Where the two runs of the pipeline are made.
        requests: How often each servable is asked.
    """
    import tensorflow as tf

    servables = {name: make_servable(run_dir, name == "joined") for name in ("alone", "joined")}

    def in_process(path: Path) -> Callable[[Request], Any]:
        recommend = tf.saved_model.load(str(path)).signatures["recommend"]
        names = recommend.structured_input_signature[1]

        def ask(request: Request) -> None:
            inputs = recommend_inputs([request])
            recommend(**{name: tf.constant(inputs[name]) for name in names})["ids"].numpy()

        return ask

    found = {}
    asked = {name: in_process(path) for name, path in servables.items()}
    for name, value in by_turns(asked, requests).items():
        found[f"recommend_{name}"] = value
    with contextlib.ExitStack() as stack:
        asked = {name: stack.enter_context(served(path)) for name, path in servables.items()}
        for name, value in by_turns(asked, requests).items():
            found[f"served_{name}"] = value
    return found


@contextlib.contextmanager
def served(servable: Path) -> Iterator[Callable[[Request], Any]]:
    """Serves a servable by a local server; yields what asks it for 10 items."""
    with tempfile.TemporaryDirectory() as base_path:
        shutil.copytree(servable, Path(base_path) / "1")
        with local_server(Path(base_path), MODEL) as address:
            with RecommenderClient(address, MODEL, timeout=60) as client:
                yield lambda request: client.recommend(request.history, k=10, request_time=0)


def by_turns(asked: Mapping[str, Callable[[Request], Any]], requests: int) -> dict[str, float]:
    """Asks several servables the same in turn: percentiles in milliseconds, joined over alone."""
    import numpy as np

    draw = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {name: [] for name in asked}
    for number in range(_WARM_UP + requests):
        items = draw.integers(1, 3_000, draw.integers(1, 50))
        request = Request([Event(f"movie:{item}", "rating", 0) for item in items])
        for name, ask in asked.items():
            started = time.perf_counter()
            ask(request)
            if number >= _WARM_UP:
                seconds[name].append(time.perf_counter() - started)
    found = {
        f"{name}_p{share}_ms": float(np.percentile(times, share)) * 1e3
        for name, times in seconds.items()
        for share in (50, 99)
    }
    ratios = {f"p{q}_ratio": found[f"joined_p{q}_ms"] / found[f"alone_p{q}_ms"] for q in (50, 99)}
    return found | ratios


def make_servable(run_dir: Path, joined: bool) -> Path:
    """Runs the pipeline, whose training the second run takes from the cache."""
    settings = [f"retrieval.sources.enabled={joined}", f"run_dir={run_dir}"]
    settings += [f"log_dir={run_dir / 'log'}", "retrieval.evaluation.thresholds={}"]
    settings += ["retrieval.evaluation.beats_neighbours=null"]
    if not (run_dir / "log").exists():
        vitrine("data", "prepare", "movielens-1m", "--out", str(run_dir / "log"))
    vitrine("run", "movielens_1m_demo", settings=settings)
    made = (run_dir / "artifacts" / "servable-builder" / "servable").glob("*/Format-Serving")
    # A run that comes from the cache is not the newest: both are there.
    found = [path for path in made if (path / SOURCES_DIR).is_dir() == joined]
    return max(found, key=lambda path: int(path.parent.name))


def main() -> None:
    """Measures what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--logs", type=Path, help="keep the synthetic logs here")
    parser.add_argument("--requests", type=int, default=2_000, help="of `recommend`")
    runs = ROOT / "runs" / "benchmarks" / "sources_speed"
    parser.add_argument("--run-dir", type=Path, default=runs, help="of the servables")
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
    if not results.find({"name": "served_p99_ratio", "unit": ""}):
        latency = recommend_latency(options.run_dir, options.requests)
        for name, value in latency.items():
            key = {"name": name, "unit": "ms" if name.endswith("ms") else ""}
            results.runs = [run for run in results.runs if run.key != key]  # all of one go
            results.measure(key, 0, functools.partial(dict, value=value), seconds=0.0)
    for row in results.rows():
        print(
            f"{row['name']:30}{row['value']:>12,.2f} {row['unit']}"
            f"{row.get('peak_megabytes', 0.0):>8,.0f} MB"
        )


if __name__ == "__main__":
    main()
