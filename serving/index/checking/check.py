"""Measures a ScaNN index against exact search.

    python -m serving.index.checking.check --index DIR --queries queries.npz --recall-at 100

Prints {"recall": ..., "recall_at": ..., "latency_ms": {...}, "queries": n} as
JSON. Like `serving.index.building.build` it needs no TensorFlow of its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.index import files
from serving.index import search_quality
from serving.index.processes import reporting_errors
from serving.index.queries import Queries
from serving.index.queries import load_queries
from serving.index.tree import scann_search
from serving.index.tree.scann_files import load_searcher


def measure(index: files.IndexFiles, queries: Queries, recall_at: int) -> dict[str, Any]:
    """Measures recall and latency of the ScaNN searcher of `index`.

    Args:
        index: An opened index.
        queries: What is asked.
        recall_at: K; all candidates when there are fewer.

    Returns:
        {"recall", "recall_at", "latency_ms": {"p50", "p99", "queries"}, "queries"}

    Raises:
        ValueError: Without queries, or with ones of another dimension.
    """
    shape = queries.vectors.shape
    if not len(queries) or shape[-1] != index.vectors.shape[1]:
        raise ValueError(
            f"Query embeddings have the shape {list(shape)}; expected at least one of "
            f"{index.vectors.shape[1]} dimensions."
        )
    searcher = load_searcher(index.scann_dir)
    k = min(recall_at, index.size)
    settings = index.info["search"]
    reorder, leaves = settings["reorder"], settings["leaves_to_search"]
    vectors = np.asarray(index.vectors)

    def ask(asked: Queries) -> np.ndarray:
        return scann_search.search(
            searcher, asked.vectors, k, reorder, leaves, asked.weight, vectors
        )

    found = search_quality.recall(vectors, queries.vectors, ask(queries), k, queries.weight)
    single = [queries[row : row + 1] for row in range(len(queries))]
    latency = search_quality.latency_ms(ask, single)
    return {
        "recall": float(found.mean()),
        "recall_at": k,
        "latency_ms": latency,
        "queries": len(queries),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, required=True, help="the index directory")
    parser.add_argument("--queries", type=Path, required=True, help="query embeddings")
    parser.add_argument("--recall-at", type=int, default=100, help="the K of recall@K")
    args = parser.parse_args(argv)
    with reporting_errors():
        # Hashes were checked by whoever called; reading everything twice helps nobody.
        index = files.open_index(args.index, check_hashes=False)
        print(json.dumps(measure(index, load_queries(args.queries), args.recall_at)))


if __name__ == "__main__":
    main()
