"""Recall against speed of nearest-neighbour searches: ours, faiss, hnswlib, exact.

    python -m benchmarks.index                            # does what is missing
    python -m benchmarks.index --items 100000 --data "sigma 0.6"
    python -m benchmarks.index --index runs/retailrocket --data retailrocket

Catalogues are 1,000 centres N(0, I) of 64 dimensions and points centre + sigma N(0, I) of
length 1; sigma 0.6 is the headline, sigma 1.0 is harder, `no clusters` has points on the
sphere alone. Queries are further points of the same kind. `--index` takes the vectors of a real
index instead, and the query embeddings of its run's test timelines. Nothing is tuned: each engine's
settings are tried from the fastest on, until one has recall@100 >= 0.998, and those are kept that
no other beats in both.

For each engine one row a setting: `recall@10`, `recall@100`, `queries_per_second` at the row's
batch and number of search threads, `build_s` on all cores, `bytes` on disk or in
variables. `fastest` marks an engine's fastest setting of recall@100 >= 0.99 (exact search has
no other). Each engine runs in a process of its own, one after the other.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clustered_points import NO_CLUSTERS
from benchmarks.clustered_points import make_centres
from benchmarks.clustered_points import make_points
from benchmarks.environment import ROOT
from benchmarks.index_engines import ENGINES
from benchmarks.index_plot import plot
from benchmarks.peers.environment import ANN
from benchmarks.peers.environment import run_peer
from benchmarks.peers.search_timing import K
from benchmarks.results import Results
from benchmarks.results import Run
from benchmarks.results_table import render

NAME = "index"
GENERATED = {"sigma 0.6": 0.6, "sigma 1.0": 1.0, "no clusters": NO_CLUSTERS}
ITEMS = [10_000, 20_000, 50_000, 100_000, 1_000_000]
PEERS = ("faiss_ivfpqfs", "faiss_hnsw", "hnswlib")
QUERIES = 1_000
AIM = 0.99
HEADLINE = ("engine", "data", "items", "batch", "threads", "setting", "recall@100")


def main() -> None:
    """Measures what is missing, marks the fastest, and prints them."""
    options = _parse()
    results = Results(NAME, f"python -m benchmarks.{NAME}", options.fresh)
    for data in options.data:
        for items in options.items:
            with tempfile.TemporaryDirectory() as folder:
                items = write_data(Path(folder), data, items, options.index)
                for engine in options.engines:
                    measure(results, Path(folder), engine, data, items, options)
    plot(results.rows(), results.path.with_suffix(".svg"))
    print(render(results.path, (*HEADLINE, "queries_per_second", "build_s", "bytes")))


def _place(run: Run) -> tuple[Any, ...]:
    """Returns where a row stands in the table; settings stay as they were tried."""
    engines = [*ENGINES, *PEERS]
    key = run.key
    data = str(key["data"])
    order = [*GENERATED, data].index(data)
    return (
        order,
        key["items"],
        key["batch"],
        engines.index(str(key["engine"])),
    )


def write_data(folder: Path, data: str, items: int, index: Path | None) -> int:
    """Writes vectors, queries and the best rows of each query; returns how many vectors."""
    if index is not None:
        held, queries = read_index(index)
    else:
        rng = np.random.default_rng(0)
        centres, sigma = make_centres(rng), GENERATED[data]
        held = make_points(items, rng, centres, sigma)
        queries = make_points(QUERIES, rng, centres, sigma)
    np.save(folder / "vectors.npy", held)
    np.save(folder / "queries.npy", queries)
    np.save(folder / "truth.npy", best_rows(held, queries))
    return len(held)


def read_index(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns the vectors [N, d] of an index and queries [Q, d] of its run, float32."""
    import tensorflow as tf

    from serving.index import files
    from serving.index.embedding.sample import sample_queries
    from tfx_pipeline.commands.index_place import find_index

    place = find_index(path)
    index = files.open_index(place.index)
    towers = tf.saved_model.load(str(place.version)).towers if place.version else None
    queries, asked = sample_queries(index, QUERIES, towers, place.timelines())
    if queries.vectors.ndim != 2:
        shape = list(queries.vectors.shape)
        raise ValueError(f"The engines take one vector a query, received {shape}.")
    print(f"{index.size:,} vectors, asked with {len(queries):,} {asked}", flush=True)
    return np.asarray(index.vectors, np.float32), queries.vectors


def best_rows(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Returns the K best rows of each query by dot product, best first: [Q, K] int64."""
    best = []
    for start in range(0, len(queries), 64):
        scores = queries[start : start + 64] @ vectors.T  # [q, N]
        top = np.argpartition(-scores, K - 1, axis=1)[:, :K]
        order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
        best.append(np.take_along_axis(top, order, axis=1))
    return np.concatenate(best)


def measure(
    results: Results, folder: Path, engine: str, data: str, items: int, options: argparse.Namespace
) -> None:
    """Runs one engine, unless all of its rows are there, and keeps a row a setting."""
    key = {"engine": engine, "data": data, "items": items, "threads": options.threads}
    batches = list(options.batches)
    kept = [run for run in results.runs if key.items() <= run.key.items()]
    if {run.key["batch"] for run in kept} >= set(batches):
        return
    print(f"{engine}, {data}, {items:,} ...", flush=True)
    started = time.perf_counter()
    report = run_engine(folder, engine, options)
    seconds = time.perf_counter() - started
    built = {"build_s": report["build_s"], "bytes": report["bytes"]}
    points = _not_beaten(report["points"])
    best = _fastest(points)
    for point in points:
        row = {**key, "batch": point.pop("batch"), "setting": point.pop("setting")}
        fastest = float(best.get(row["batch"]) == row["setting"])
        values: partial[dict[str, float]] = partial(dict, **point, **built, fastest=fastest)
        results.measure(row, 0, values, seconds=seconds / len(points))
    results.runs.sort(key=_place)
    results.save()


def run_engine(folder: Path, engine: str, options: argparse.Namespace) -> dict[str, Any]:
    """Builds and asks an engine in its own process; returns its report."""
    out = folder / f"{engine}.json"
    if engine in PEERS:
        return run_peer(
            ANN,
            "ann_search",
            out,
            engine=engine,
            data=str(folder),
            threads=options.threads,
            batches=options.batches,
            seconds=options.seconds,
        )
    command = [sys.executable, "-m", "benchmarks.index_engines", "--engine", engine]
    command += ["--data", str(folder), "--out", str(out), "--threads", str(options.threads)]
    command += ["--seconds", str(options.seconds), "--batches", *map(str, options.batches)]
    subprocess.run(command, check=True, cwd=ROOT)
    report: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return report


def _not_beaten(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leaves out settings that another one beats in recall and speed, batch by batch."""

    def beaten(point: dict[str, Any]) -> bool:
        return any(
            other["batch"] == point["batch"]
            and other[f"recall@{K}"] >= point[f"recall@{K}"]
            and other["queries_per_second"] > point["queries_per_second"]
            for other in points
        )

    return [point for point in points if not beaten(point)]


def _fastest(points: list[dict[str, Any]]) -> dict[int, str]:
    """Returns for each batch the setting that is fastest at the recall aimed at."""
    best: dict[int, dict[str, Any]] = {}
    for point in points:
        if point[f"recall@{K}"] < AIM:
            continue
        other = best.get(point["batch"])
        if other is None or point["queries_per_second"] > other["queries_per_second"]:
            best[point["batch"]] = point
    return {batch: point["setting"] for batch, point in best.items()}


def _parse() -> argparse.Namespace:
    """Reads the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs")
    parser.add_argument("--items", type=int, nargs="+", default=ITEMS)
    parser.add_argument("--data", nargs="+", default=list(GENERATED), help="kinds of catalogues")
    parser.add_argument("--index", type=Path, help="a run or a pushed version; --data names it")
    parser.add_argument("--engines", nargs="+", default=[*ENGINES, *PEERS])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0, help="that a setting is timed")
    options = parser.parse_args()
    if options.index is not None:
        if len(options.data) != 1:
            parser.error("--index needs one name: --data NAME")
        options.items = options.items[:1]
    elif unknown := sorted(set(options.data) - set(GENERATED)):
        parser.error(f"there is no generator of {unknown}, but {list(GENERATED)}")
    return options


if __name__ == "__main__":
    main()
