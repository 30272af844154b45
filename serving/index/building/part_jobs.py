"""The steps that build an index in parts: train on a sample, encode each part, collect.

No process holds the catalogue until the parts are asked: training reads a
sample, and encoding the rows of one part. The steps run as processes, here one
after the other and the parts side by side; the index builder gives the parts to
Beam.
"""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from serving.index import files
from serving.index import processes
from serving.index.config import BuildConfig
from serving.index.parts import part_dirs
from serving.index.parts import part_rows
from serving.index.tree.scann_files import CODEBOOK
from serving.index.tree.scann_files import PARTITIONER
from serving.index.tree.scann_files import holds
from serving.index.tree.scann_files import load_searcher

TRAINED = ".trained"  # in the index directory, until the parts are collected
INFO = "info.json"


def run(path: Path, config: BuildConfig, parts: int) -> None:
    """Trains and encodes all parts of the index directory `path` on this machine."""
    train(path, config)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(partial(encode, index_dir=str(path), parts=parts), range(parts)))


def train(path: Path, config: BuildConfig) -> None:
    """Trains leaves and codebooks on a sample of the vectors, for `encode` to read."""
    for earlier in (files.SCANN, TRAINED):
        shutil.rmtree(path / earlier, ignore_errors=True)
    arguments = ["--index", str(path), "--config", config.to_json()]
    processes.run_module("serving.index.building.train_sample", arguments)


def encode(part: int, index_dir: str, parts: int) -> str:
    """Puts the rows of one part into leaves and encodes them; returns what was printed."""
    arguments = ["--index", index_dir, "--part", str(part), "--parts", str(parts)]
    return processes.run_module("serving.index.building.encode_part", arguments)


def collect(path: Path, vectors: np.ndarray, parts: int) -> tuple[Any, dict[str, Any]]:
    """Checks the parts and removes what they were made from.

    Args:
        path: The index directory.
        vectors: [N, d] float32, memory-mapped.
        parts: How many there have to be.

    Returns:
        A searcher of all parts, and what `index.json` says of the training.

    Raises:
        IndexIntegrityError: Parts are missing, or hold other vectors, or are not
            of the leaves and codebooks that were trained.
    """
    found = part_dirs(path / files.SCANN)
    if len(found) != parts or not (path / TRAINED / INFO).is_file():
        raise files.IndexIntegrityError(
            f"`{path}` holds {len(found)} encoded parts, and {parts} were expected with what they "
            "were trained on. Run the index builder again."
        )
    for part, folder in enumerate(found):
        _check(folder, path / TRAINED, vectors[part_rows(len(vectors), part, parts)])
    info = json.loads((path / TRAINED / INFO).read_text(encoding="utf-8"))
    info["build"]["parts"] = parts
    shutil.rmtree(path / TRAINED)
    return load_searcher(path / files.SCANN), info


def _check(folder: Path, trained: Path, vectors: np.ndarray) -> None:
    if not holds(folder, vectors):
        raise files.IndexIntegrityError(
            f"`{folder}` holds other vectors than its rows of `{files.VECTORS}`. Run the index "
            "builder again."
        )
    for name in (PARTITIONER, CODEBOOK):
        if (folder / name).read_bytes() != (trained / name).read_bytes():
            raise files.IndexIntegrityError(
                f"`{folder / name}` is not the one that was trained. Run the index builder again, "
                "and report the ScaNN release."
            )
