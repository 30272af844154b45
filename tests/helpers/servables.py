"""Assembles a small index and servable from the tiny towers."""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serving.index import files
from serving.index import processes
from serving.index.config import BuildConfig
from serving.index.config import ServeConfig

# Files of a version, as the retrieval stage's `servable.json` lists them.
FILES = (
    "saved_model.pb",
    "variables/variables.index",
    "servable.json",
    "index/index.json",
    "index/candidates.parquet",
    "index/vectors.npy",
)
# Checks of a retrieval model by ServingValidator, in their order.
CHECKS = (
    "load",
    "warm_up",
    "answers",
    "recommend",
    "serving_default",
    "embed_query",
    "scores",
    "recall",
    "excluded",
    "seen",
    "latency",
)


def describe_servable(path: Path, stage: str = "retrieval", **more: object) -> Path:
    """Writes a `servable.json` that requires `FILES`, with more keys, and returns its directory."""
    description = {"stage": stage, "signatures": ["serving_default"], "required": list(FILES)}
    path.mkdir(parents=True, exist_ok=True)
    (path / "servable.json").write_text(json.dumps(description | more))
    return path


def write_vectors(
    path: Path,
    ids: Sequence[str],
    vectors: np.ndarray,
    available_from: Mapping[str, int] | None = None,
) -> Path:
    """Writes the two files that an index is built from; titles are "Title of <id>"."""
    path.mkdir(parents=True, exist_ok=True)
    times = available_from or {}
    columns = [
        list(ids),
        [name.partition(":")[0] for name in ids],
        [f"Title of {name}" for name in ids],
        [times.get(name) for name in ids],
    ]
    pq.write_table(pa.table(columns, schema=files.CANDIDATES_SCHEMA), path / files.CANDIDATES)
    np.save(path / files.VECTORS, np.asarray(vectors, np.float32))
    return path


def build_index(path: Path, config: BuildConfig | None = None, towers_dir: Path | None = None):
    """Builds the ScaNN index of a directory in a process of its own (takes about ten seconds)."""
    fingerprint = files.directory_fingerprint(towers_dir) if towers_dir else ""
    text = (config or BuildConfig()).to_json()
    arguments = ["--index", str(path), "--config", text, "--towers", fingerprint]
    processes.run_module("serving.index.building.build", arguments)
    return files.open_index(path)


def seal_without_scann(path: Path, towers_dir: Path | None = None):
    """Seals an index that has no ScaNN searcher: enough for exact search, and quick."""
    types = pq.read_table(path / files.CANDIDATES)["entity_type"].to_pylist()
    vectors = files.load_vectors(path)
    files.write_info(
        path,
        {
            "index_type": "brute_force",
            "build": {},
            "search": {"leaves_to_search": None, "reorder": None},
            "candidates": vectors.shape[0],
            "dimension": vectors.shape[1],
            "candidate_types": {name: types.count(name) for name in sorted(set(types))},
            "towers": files.directory_fingerprint(towers_dir) if towers_dir else "",
        },
    )
    return files.open_index(path)


def write_tiny_servable(
    path: Path,
    ids: Sequence[str] = tuple(f"movie:{i}" for i in range(1, 51)),
    config: ServeConfig | None = None,
    available_from: Mapping[str, int] | None = None,
    interests: int = 1,
    seed: int = 0,
    weighted: bool = False,
    sources: Callable[[Path, str], tuple[Path, Path]] | None = None,
) -> Path:
    """Writes a servable over tiny towers that answers by exact search.

    Args:
        path: A scratch directory; the servable is in `path / "servable"`, with
            its towers in `path / "towers"` and its index in `path / "index"`.
        ids: Candidates.
        config: By default 10 results, and nothing that was seen is excluded.
        available_from: Microseconds by id; others are always available.
        interests: Vectors of one query.
        seed: Of the towers; another seed is another model.
        weighted: Whether a query's interests are a mixture.
        sources: Writes neighbour lists and a combination below a folder, for towers of a
            fingerprint, and returns where they are; None for the tower alone.

    Returns:
        The servable's directory.
    """
    import tensorflow as tf

    from serving.index.searching.assemble import write_servable
    from tests.helpers.towers import save_towers

    towers = save_towers(path / "towers", interests=interests, seed=seed, weighted=weighted)
    vectors = towers.vectors(tf.constant(list(ids))).numpy()
    write_vectors(path / "index", ids, vectors, available_from)
    index = seal_without_scann(path / "index", path / "towers")
    more = sources(path, index.info["towers"]) if sources else ()
    config = config or ServeConfig(k=10)
    write_servable(path / "towers", path / "index", path / "servable", config, *more)
    return path / "servable"
