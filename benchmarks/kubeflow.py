"""Pipelines compiled for Kubeflow, run task by task without a cluster, beside the local run.

    python -m benchmarks.kubeflow

Each configuration of the simulated shop, shrunk to one short epoch, runs twice: with
`vitrine run`, and as the compiled file with `vitrine run --from-compiled`, where artifacts are in
an S3 server (moto) on loopback. TensorFlow trains with deterministic kernels. `metrics_equal` is 1
where both write the same `metrics.json` but for latencies: within 1e-6, the rounding of float32,
and the index's recall within .01, as ScaNN's threads have no fixed order and a tree that is tuned
at the edge of its target may be searched wider or deeper. `from_cache` is how many tasks Kubeflow's
cache answers when the file runs again.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.command import vitrine
from benchmarks.environment import prepare_log
from benchmarks.results import Results

USERS = 300
_STAGE = (
    "trainer.epochs=1",
    "trainer.steps_per_epoch=60",
    "trainer.tensorboard=false",
    "trainer.deterministic=true",
    "evaluation.min_users=1",
    "evaluation.thresholds={}",
    "evaluation.slice_thresholds={}",
    "evaluation.change_thresholds={}",
)
_RETRIEVAL = ("retrieval.index.k=50", "retrieval.evaluation.ks=[10, 50]")
# Row -> configuration, and what is changed in it besides the size.
PIPELINES = {
    "two_tower": ("shop_demo", _RETRIEVAL),
    "sequence": ("shop_sequence", _RETRIEVAL),
    "ranking": ("shop_ranking", ("retrieval=null",)),
}


def compare(row: str, log: Path, folder: Path) -> dict[str, float]:
    """Runs one configuration in both ways and returns the values of its row."""
    name, others = PIPELINES[row]
    stages = ("ranking",) if row == "ranking" else ("retrieval",)
    small = [f"{stage}.{key}" for stage in stages for key in _STAGE]
    if stages == ("retrieval",):
        small.append("retrieval.index.max_latency_ms=1e9")  # a busy machine is no fault of it
    keys = (*others, *small)
    local, file, work = folder / "local", folder / "pipeline.yaml", folder / "tasks"
    here = vitrine("run", name, settings=(*keys, f"log_dir={log}", f"run_dir={local}"))
    print(here, vitrine("compile", name, "--output", str(file), settings=keys), flush=True)
    shutil.rmtree(work, ignore_errors=True)  # artifacts of earlier runs went with their server
    with _s3_server(folder) as environment:
        places = (f"log_dir={log}", f"push_dir={folder / 'pushed'}")
        run = ("--from-compiled", str(file), "--work-dir", str(work), "--root", "s3://kubeflow")
        run_tasks = functools.partial(
            vitrine, "run", *run, settings=places, environment=environment
        )
        first, again = run_tasks(), run_tasks()
        print(first, again, flush=True)
    mine = _comparable(local / "metrics.json", local / "pushed")
    theirs = _comparable(work / "metrics.json", folder / "pushed")
    differ = [key for key in mine | theirs if not _is_same(key, mine.get(key), theirs.get(key))]
    for key in differ:
        print(f"{row}: {key} is {mine.get(key)} here and {theirs.get(key)} task by task")
    return {
        "tasks": len(re.findall(r"^\[ *\d+/", first, re.M)),
        "metrics_equal": float(not differ),
        "metrics": len(mine),
        "from_cache": again.count("from cache"),
    }


def _is_same(key: str, mine: Any, theirs: Any) -> bool:
    if isinstance(mine, float) and isinstance(theirs, float):
        apart = 0.01 if key.startswith("index.") else 1e-6
        return math.isclose(mine, theirs, rel_tol=1e-6, abs_tol=apart)
    return bool(mine == theirs)


def _comparable(file: Path, push_dir: Path) -> dict[str, Any]:
    """Returns the metrics that do not depend on how busy the machine is, by dotted key.

    Args:
        file: `metrics.json`.
        push_dir: Left out of texts that name it.
    """
    found: dict[str, Any] = {}

    def collect(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                collect(f"{prefix}.{key}" if prefix else key, inner)
        elif not re.search("latency|seconds|per_second|serving", prefix):
            found[prefix] = value

    collect("", json.loads(file.read_text(encoding="utf-8").replace(str(push_dir), "")))
    return found


@contextlib.contextmanager
def _s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """Starts an S3 server and makes the bucket; yields what its users have set."""
    ports = folder / "port"
    ports.unlink(missing_ok=True)
    program = (
        "from moto.server import ThreadedMotoServer; import pathlib, time\n"
        "server = ThreadedMotoServer('127.0.0.1', 0, verbose=False); server.start()\n"
        f"pathlib.Path({str(ports)!r}).write_text(str(server.get_host_and_port()[1]))\n"
        "time.sleep(1e6)"
    )
    nowhere = subprocess.DEVNULL  # it says a line a request
    server = subprocess.Popen([sys.executable, "-c", program], stdout=nowhere, stderr=nowhere)
    try:
        while not ports.exists() or not ports.read_text():
            if server.poll() is not None:
                raise RuntimeError("The S3 server did not start; it needs the extra `test`.")
            time.sleep(0.1)
        address = f"http://127.0.0.1:{ports.read_text()}"
        request = urllib.request.Request(f"{address}/kubeflow", method="PUT")
        urllib.request.urlopen(request).close()
        yield {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Measures the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs")
    parser.add_argument("--only", choices=list(PIPELINES), help="one row")
    parser.add_argument("--folder", type=Path, help="where to run, and to keep what was made")
    arguments = parser.parse_args()
    results = Results("kubeflow", "python -m benchmarks.kubeflow", arguments.fresh)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        log = folder / "log"
        prepare_log(log, "shop", users=USERS, images=False)
        for row in [arguments.only] if arguments.only else PIPELINES:
            place = folder / row
            place.mkdir(exist_ok=True)
            results.measure(
                {"pipeline": row},
                0,
                functools.partial(compare, row, log, place),
                {"users": USERS},
            )


if __name__ == "__main__":
    main()
