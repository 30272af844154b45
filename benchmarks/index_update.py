"""Speed of an index update, relative to a build.

    python -m benchmarks.index_update

The catalogue is the index benchmark's: 1,000 centres N(0, I), 100,000 points
centre + 0.6 N(0, I) of 64 dimensions, normalised. One in a hundred candidates
changes: half of these are new, a quarter get another vector, a quarter go.
`build_s` is `serving.index.building.build` over the changed catalogue, tuning on 512
queries included; `update_s` is `serving.index.updating.apply`; both with all files and
hashes, in a process that has loaded ScaNN. `train_s` and `change_s` are what
ScaNN itself does in them: training, assigning and encoding against `upsert` and
`delete`. `start_s` is a process that loads ScaNN, which a pipeline's build and
`vitrine index update` pay once each. A build also has to embed every
candidate, an update the changed ones; writing the SavedModel and checking
recall are the same work
after either, and neither is counted. `recall@100` is of the same 1,000 queries
at the same leaves and re-ranking depth.
"""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.clustered_points import make_centres
from benchmarks.clustered_points import make_points
from benchmarks.results import Results
from serving.index import files
from serving.index.building.build import build
from serving.index.building.build import train
from serving.index.config import BuildConfig
from serving.index.queries import load_queries
from serving.index.search_quality import recall
from serving.index.tree.scann_files import load_searcher
from serving.index.tree.scann_search import search
from serving.index.updating.apply import apply
from serving.index.updating.changes import DELETES_SCHEMA
from serving.index.updating.changes import UPSERTS_SCHEMA
from serving.index.updating.changes import Changes
from transforms.arrow import pa
from transforms.arrow import pq

COMMAND = "python -m benchmarks.index_update"
QUERIES = 1_000
TUNING = 512
_LOAD = "from scann.scann_ops.py import scann_ops_pybind"


def make_changes(
    items: int, changed: int, rng: np.random.Generator, centres: np.ndarray
) -> Changes:
    """Returns `changed` changes to a catalogue `item:0` to `item:<items - 1>`."""
    old = rng.permutation(items)[: changed // 2]
    moved, gone = old[: changed // 4], old[changed // 4 :]
    names = [f"item:{items + number}" for number in range(changed - len(old))]
    names += [f"item:{number}" for number in moved]
    vectors = make_points(len(names), rng, centres)
    rows = [
        {"id": name, "entity_type": "item", "vector": vector}
        for name, vector in zip(names, vectors, strict=True)
    ]
    deletes = [{"id": f"item:{number}"} for number in gone]
    return Changes(
        pa.Table.from_pylist(rows, UPSERTS_SCHEMA), pa.Table.from_pylist(deletes, DELETES_SCHEMA)
    )


def write_catalogue(path: Path, names: list[str], vectors: np.ndarray) -> None:
    """Writes what an index is built from."""
    path.mkdir(parents=True)
    nothing = [None] * len(names)
    columns = [names, ["item"] * len(names), nothing, nothing]
    pq.write_table(pa.table(columns, schema=files.CANDIDATES_SCHEMA), path / files.CANDIDATES)
    np.save(path / files.VECTORS, vectors)


def measure(items: int, changed: int, seed: int) -> dict[str, float]:
    """Builds, updates and builds again over the changed catalogue.

    Returns:
        Seconds of each, their ratios, and recall@100 of both indexes.
    """
    rng = np.random.default_rng(seed)
    centres = make_centres(rng)
    vectors = make_points(items, rng, centres)
    changes = make_changes(items, changed, rng, centres)
    queries = make_points(QUERIES, rng, centres)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        np.save(home / "tuning.npy", make_points(TUNING, rng, centres))
        write_catalogue(home / "old", [f"item:{row}" for row in range(items)], vectors)
        start_s = _seconds(lambda: subprocess.run([sys.executable, "-c", _LOAD], check=True))
        _build(home, "old")
        changes.write(home / "changes")
        old = files.open_index(home / "old", check_hashes=False)
        update_s = _seconds(lambda: apply(old, changes, home / "updated"))
        updated = files.open_index(home / "updated")
        write_catalogue(home / "new", updated.candidates["id"].to_pylist(), updated.vectors)
        build_s = _seconds(lambda: _build(home, "new"))
        train_s, change_s = _scann_seconds(home, np.asarray(updated.vectors), changes)
        settings = updated.info["search"]
        values = {"update_s": update_s, "build_s": build_s, "build_over_update": build_s / update_s}
        values |= {
            "change_s": change_s,
            "train_s": train_s,
            "train_over_change": train_s / change_s,
        }
        for name in ("updated", "new"):
            searcher = load_searcher(home / name / files.SCANN)
            rows = search(searcher, queries, 100, settings["reorder"], settings["leaves_to_search"])
            found = recall(np.asarray(updated.vectors), queries, rows, 100).mean()
            values["recall@100_updated" if name == "updated" else "recall@100_built"] = float(found)
        return {**values, "start_s": start_s, "load": load}


def _build(home: Path, name: str) -> None:
    build(home / name, BuildConfig(), load_queries(home / "tuning.npy"))


def _scann_seconds(home: Path, vectors: np.ndarray, changes: Changes) -> tuple[float, float]:
    """Returns the seconds of ScaNN's own work, without files and processes."""
    old = files.open_index(home / "old", check_hashes=False)
    rows = old.rows()
    upserted = [rows.get(name) for name in changes.upserts["id"].to_pylist()]
    deleted = sorted((rows[name] for name in changes.deletes["id"].to_pylist()), reverse=True)
    searcher, new = load_searcher(old.scann_dir).searcher, changes.vectors

    def change() -> None:
        searcher.upsert(upserted, new, 1)
        searcher.delete(deleted)

    change_s = _seconds(change)
    return _seconds(lambda: train(vectors, BuildConfig())), change_s


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--changed", type=float, default=0.01, help="share of the items")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fresh", action="store_true", help="forget the runs that are there")
    args = parser.parse_args()
    results = Results("index_update", COMMAND, fresh=args.fresh)
    changed = round(args.items * args.changed)
    for seed in range(args.seeds):
        key = {"items": args.items, "changed": changed}
        run = results.measure(key, seed, functools.partial(measure, args.items, changed, seed))
        print(f"{key}, seed {seed}: {run.values}")


if __name__ == "__main__":
    main()
