"""Builds and asks an index of faiss or hnswlib.

    python ann_search.py --engine faiss_hnsw --data FOLDER --out points.json --threads 1

Needs faiss or hnswlib, and NumPy. The folder holds `vectors.npy` [N, d], `queries.npy` [Q, d]
and `truth.npy` [Q, 100]; scores are dot products. Building takes all cores, the search
`--threads`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from search_timing import Engine
from search_timing import K  # a script's own folder is on its path, the project is not
from search_timing import Settings
from search_timing import main

CORES = os.cpu_count() or 1
_LEAVES = (4, 8, 16, 32, 64, 128, 256, 512)  # of faiss's inverted lists, searched for a query
_EXTRA = (100, 200, 400, 800, 1600)  # candidates that a graph keeps during a search


def faiss_ivfpqfs(vectors: np.ndarray) -> tuple[Any, int]:
    """Builds leaves, 4-bit codes scanned by registers, and exact re-ranking."""
    import faiss

    size, dim = vectors.shape
    kind = f"IVF{round(size**0.6)},PQ{dim // 2}x4fs,RFlat"  # as many leaves as ours
    index = faiss.index_factory(dim, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors[:: max(1, size // 100_000)])
    index.add(vectors)
    return index, len(faiss.serialize_index(index))


def faiss_hnsw(vectors: np.ndarray) -> tuple[Any, int]:
    """Builds a graph with 32 links a node."""
    import faiss

    index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 200
    index.add(vectors)
    return index, len(faiss.serialize_index(index))


def hnswlib(vectors: np.ndarray) -> tuple[Any, int]:
    """Builds a graph with 32 links a node."""
    import hnswlib as library

    index = library.Index("ip", vectors.shape[1])
    index.init_index(len(vectors), M=32, ef_construction=200, random_seed=0)
    index.add_items(vectors, num_threads=CORES)
    return index, index.index_file_size()


def faiss_ivfpqfs_settings(index: Any, threads: int) -> Settings:
    """Yields searches of more and more leaves, each with more and more re-ranking."""
    import faiss

    faiss.omp_set_num_threads(threads)
    for leaves in _LEAVES:
        for deep in (2, 4, 8):
            faiss.extract_index_ivf(index).nprobe = leaves
            index.k_factor = deep
            yield f"nprobe {leaves}, k_factor {deep}", lambda part: index.search(part, K)[1]


def faiss_hnsw_settings(index: Any, threads: int) -> Settings:
    """Yields searches that keep more and more candidates."""
    import faiss

    faiss.omp_set_num_threads(threads)
    for extra in _EXTRA:
        index.hnsw.efSearch = extra
        yield f"efSearch {extra}", lambda part: index.search(part, K)[1]


def hnswlib_settings(index: Any, threads: int) -> Settings:
    """Yields searches that keep more and more candidates."""
    for extra in _EXTRA:
        index.set_ef(extra)
        yield f"ef {extra}", lambda part: index.knn_query(part, K, num_threads=threads)[0]


def _engine(
    build: Callable[[np.ndarray], tuple[Any, int]], settings: Callable[[Any, int], Settings]
) -> Engine:
    """Times the building."""

    def engine(_: Path, vectors: np.ndarray, threads: int) -> tuple[Settings, dict[str, Any]]:
        started = time.perf_counter()
        index, size = build(vectors)
        report = {"build_s": time.perf_counter() - started, "bytes": size}
        return settings(index, threads), report

    return engine


ENGINES = {
    "faiss_ivfpqfs": _engine(faiss_ivfpqfs, faiss_ivfpqfs_settings),
    "faiss_hnsw": _engine(faiss_hnsw, faiss_hnsw_settings),
    "hnswlib": _engine(hnswlib, hnswlib_settings),
}


if __name__ == "__main__":
    main(__doc__.partition("\n")[0], ENGINES)
