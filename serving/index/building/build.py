"""Trains and writes the ScaNN index of a directory that holds vectors and candidates.

    python -m serving.index.building.build --index DIR --config JSON [--queries queries.npz]
        [--towers FINGERPRINT] [--encoded]

It reads arrays and writes files, and needs neither TensorFlow nor the models:
ScaNN brings its own TensorFlow, which newer releases cannot share with
another one in the same process.

With `parts` above 1, other processes train and encode (`serving.index.building.part_jobs`)
and this one tunes and seals; `--encoded` says that they have run already.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.index import files
from serving.index.building import curve
from serving.index.building import part_jobs
from serving.index.building.tuning import tune
from serving.index.config import BuildConfig
from serving.index.processes import reporting_errors
from serving.index.queries import Queries
from serving.index.queries import load_queries
from serving.index.tree.scann_files import leaf_sizes
from serving.index.tree.scann_files import read_partition
from serving.index.tree.scann_files import serialise
from serving.pickles import refuse_pickles

BRUTE_FORCE = "brute_force"


def build(
    path: Path,
    config: BuildConfig,
    queries: Queries | None = None,
    towers: str = "",
    encoded: bool = False,
) -> dict[str, Any]:
    """Builds `scann/` and `index.json` from `vectors.npy` and `candidates.parquet`.

    Args:
        path: The index directory.
        config: VocabularySizes; what is unset is chosen or tuned.
        queries: What to tune with.
        towers: Fingerprint of the towers that made the vectors.
        encoded: Whether the parts are there already; see `part_jobs`.

    Returns:
        The content of `index.json`.

    Raises:
        IndexIntegrityError: Vectors and candidates do not fit, or parts are not
            of these vectors.
        PickledFileError: A file is a pickle.
        ValueError: The queries do not fit the vectors.
    """
    refuse_pickles(path)
    candidates = files.load_candidates(path)
    vectors = files.load_vectors(path)
    files.check_rows(path, candidates, vectors)
    _check_queries(queries, vectors.shape[1])
    parts = config.parts_for(len(vectors))
    if parts > 1:
        if not encoded:
            part_jobs.run(path, config, parts)
        searcher, info = part_jobs.collect(path, vectors, parts)
    else:
        shutil.rmtree(path / files.SCANN, ignore_errors=True)  # of an earlier build, in parts
        searcher, info = train(np.ascontiguousarray(vectors), config)
        serialise(searcher, path / files.SCANN)
    if info["index_type"] == files.TREE_AH:
        partition = read_partition(path / files.SCANN)
        info["build"]["leaf_sizes"] = leaf_sizes(partition)
        info["search"] = tune(searcher, vectors, queries, config, partition)
        curve.write(path, info["search"])
    info.update(files.counts(candidates, vectors), towers=towers)
    return files.write_info(path, info)


def train(
    vectors: np.ndarray, config: BuildConfig, total: int | None = None
) -> tuple[Any, dict[str, Any]]:
    """Trains a searcher.

    Args:
        vectors: [N, d] float32.
        config: VocabularySizes.
        total: Candidates that there will be, when the vectors are a sample of them.

    Returns:
        The searcher over the vectors, and what `index.json` says of it.
    """
    from scann.scann_ops.py import scann_ops_pybind

    dim = vectors.shape[1]
    size = total or len(vectors)
    builder = scann_ops_pybind.builder(vectors, min(config.recall_at, len(vectors)), "dot_product")
    builder = builder.set_n_training_threads(os.cpu_count() or 1)
    if size < config.tree_from:
        return builder.score_brute_force().build(), {
            "index_type": BRUTE_FORCE,
            "build": {},
            "search": {"leaves_to_search": None, "reorder": None},
        }
    leaves = min(len(vectors), config.leaves_for(size))
    sample = min(len(vectors), config.training_sample)
    block = min(dim, config.dimensions_per_block)
    searcher = (
        builder.tree(
            num_leaves=leaves,
            num_leaves_to_search=config.default_leaves_to_search(size, leaves),
            training_sample_size=sample,
            min_partition_size=1,
            random_init=False,  # k-means++ with a fixed seed: the same index every time
        )
        .score_ah(
            block,
            anisotropic_quantization_threshold=config.anisotropic_threshold,
            training_sample_size=sample,
        )
        .reorder(config.default_reorder(size))
        .build()
    )
    return searcher, {
        "index_type": files.TREE_AH,
        "build": {
            "leaves": leaves,
            "dimensions_per_block": block,
            "anisotropic_threshold": config.anisotropic_threshold,
            "training_sample": sample,
        },
    }


def _check_queries(queries: Queries | None, dim: int) -> None:
    if queries is None:
        return
    shape = queries.vectors.shape
    if len(shape) not in (2, 3) or shape[-1] != dim:
        raise ValueError(
            f"Query embeddings have the shape {list(shape)}, and the candidates' have "
            f"{dim} dimensions: expected [Q, {dim}] or [Q, K, {dim}]. Are both towers of one model?"
        )
    if not np.isfinite(queries.vectors).all():
        raise ValueError("Query embeddings are not all finite: the query tower is broken.")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, required=True, help="the index directory")
    parser.add_argument("--config", default="{}", help="a BuildConfig as JSON")
    parser.add_argument("--queries", type=Path, help="query embeddings to tune with")
    parser.add_argument("--towers", default="", help="fingerprint of the towers")
    parser.add_argument("--encoded", action="store_true", help="the parts are there already")
    args = parser.parse_args(argv)
    with reporting_errors():
        queries = load_queries(args.queries) if args.queries else None
        started = time.monotonic()
        config = BuildConfig.model_validate_json(args.config)
        info = build(args.index, config, queries, args.towers, args.encoded)
    chosen = {name: value for name, value in info["search"].items() if name != "curve"}
    print(
        f"{info['index_type']} over {info['candidates']:,} x {info['dimension']} in "
        f"{time.monotonic() - started:.1f} s, search {json.dumps(chosen)}"
    )


if __name__ == "__main__":
    main()
