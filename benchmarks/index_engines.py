"""Builds and asks one of our engines, in a process of its own.

    python -m benchmarks.index_engines --engine scann --data FOLDER --out points.json --threads 1

The folder is that of `benchmarks/peers/ann_search.py`. `scann` leaves its
index there, and `portable` searches the same tree with plain TensorFlow operations as a servable
does; `exact` is the servable's other search backend.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.search_timing import K
from benchmarks.peers.search_timing import Search
from benchmarks.peers.search_timing import Settings
from benchmarks.peers.search_timing import main

SHARES = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)  # of the leaves
DEPTHS = (1.5, 2, 4, 8, 16)  # times K, candidates that ScaNN scores again exactly
SCANN = "scann"


def scann(data: Path, vectors: np.ndarray, threads: int) -> tuple[Settings, dict[str, Any]]:
    """Trains a tree with residual codes, as the index builder does."""
    started = time.perf_counter()
    searcher, leaves = _grow_tree(data, vectors)
    report = {"build_s": time.perf_counter() - started}
    files = [path for path in (data / SCANN).rglob("*") if path.is_file()]
    report["bytes"] = sum(path.stat().st_size for path in files)

    def settings() -> Settings:
        if threads > 1:
            searcher.set_num_threads(threads)
        for share in SHARES:
            visited = max(1, round(share * leaves))
            for depth in DEPTHS:
                scored = int(depth * K)
                name = f"leaves {visited} of {leaves}, re-rank {scored}"
                yield name, _scann_search(searcher, visited, scored, threads)

    return settings(), report


def _grow_tree(data: Path, vectors: np.ndarray) -> tuple[Any, int]:
    """Trains ScaNN's searcher and writes it; returns it and how many leaves it has."""
    from serving.index.building.build import train
    from serving.index.config import BuildConfig
    from serving.index.tree.scann_files import serialise

    searcher, info = train(vectors, BuildConfig())
    serialise(searcher, data / SCANN)
    return searcher, info["build"]["leaves"]


def _scann_search(searcher: Any, leaves: int, depth: int, threads: int) -> Search:
    several = searcher.search_batched_parallel if threads > 1 else searcher.search_batched

    def search(part: np.ndarray) -> np.ndarray:
        if len(part) == 1:
            rows, _ = searcher.search(
                part[0], pre_reorder_num_neighbors=depth, leaves_to_search=leaves
            )
            return _padded(np.asarray(rows)[None])
        rows, _ = several(part, pre_reorder_num_neighbors=depth, leaves_to_search=leaves)
        return _padded(np.asarray(rows))

    return search


def _padded(rows: np.ndarray) -> np.ndarray:
    """Fills rows with -1 where the leaves hold fewer than K: [B, n] -> [B, K]."""
    if rows.shape[1] == K:
        return rows  # np.pad would take as long as half a search
    return np.pad(rows.astype(np.int64), ((0, 0), (0, K - rows.shape[1])), constant_values=-1)


def portable(data: Path, vectors: np.ndarray, threads: int) -> tuple[Settings, dict[str, Any]]:
    """Lays ScaNN's leaves out as blocks; building is the layout, on top of ScaNN's."""
    _use_threads(threads)
    from serving.index.searching.portable import PortableIndex
    from serving.index.tree.scann_files import read_partition

    if not (data / SCANN).exists():
        _grow_tree(data, vectors)
    partition = read_partition(data / SCANN)
    leaves = len(partition.centres)

    def make(visited: int) -> Any:
        return PortableIndex(vectors, partition, visited, K)

    started = time.perf_counter()
    index = make(max(1, round(SHARES[0] * leaves)))
    report = {"build_s": time.perf_counter() - started, "bytes": _bytes(index)}

    def settings() -> Settings:
        for share in SHARES:
            visited = max(1, round(share * leaves))
            yield f"leaves {visited} of {leaves}", _tensorflow_search(make(visited))

    return settings(), report


def exact(data: Path, vectors: np.ndarray, threads: int) -> tuple[Settings, dict[str, Any]]:
    """Scores everything."""
    del data
    _use_threads(threads)
    from serving.index.searching.exact import ExactIndex

    index = ExactIndex(vectors, K)
    return iter([("all", _tensorflow_search(index))]), {"build_s": 0.0, "bytes": _bytes(index)}


def _use_threads(threads: int) -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _bytes(index: Any) -> int:
    return sum(variable.numpy().nbytes for variable in index.variables)


def _tensorflow_search(index: Any) -> Search:
    """Returns the searcher as a servable calls it: nothing is excluded, no time is given."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, _dimension(index)], tf.float32)])
    def search(query: tf.Tensor) -> tf.Tensor:
        batch = tf.shape(query)[0]
        rows, _ = index.search(query, tf.fill([batch, 1], -1), tf.zeros([batch], tf.int64))
        return rows

    return lambda part: search(tf.constant(part)).numpy()


def _dimension(index: Any) -> int:
    held = index.centres if hasattr(index, "centres") else index.vectors
    return int(held.shape[1])


ENGINES = {"scann": scann, "portable": portable, "exact": exact}


if __name__ == "__main__":
    main(__doc__.partition("\n")[0], ENGINES)
