"""Puts one part of an index's vectors into trained leaves and encodes them.

    python -m serving.index.building.encode_part --index DIR --part 3 --parts 8

It reads the part's rows of `vectors.npy` alone and `.trained/`, and writes
`scann/part-00003-of-00008/`. Like `serving.index.building.build` it needs no TensorFlow
of its own.

ScaNN makes at loading what a searcher's files leave open: given tree, codebooks
and vectors, it finds leaves and codes. They are those that its `upsert` gives,
and here no process holds the sample that was trained on, or takes it out.
"""

from __future__ import annotations

import argparse
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.index import files
from serving.index.building.part_jobs import TRAINED
from serving.index.parts import part_dir
from serving.index.parts import part_rows
from serving.index.processes import reporting_errors
from serving.index.tree.scann_files import ASSETS
from serving.index.tree.scann_files import CODEBOOK
from serving.index.tree.scann_files import CONFIG
from serving.index.tree.scann_files import DATASET
from serving.index.tree.scann_files import PARTITIONER
from serving.index.tree.scann_files import load_searcher
from serving.index.tree.scann_files import serialise

_KEPT = {"AH_CENTERS": CODEBOOK, "PARTITIONER": PARTITIONER, "DATASET_NPY": DATASET}


def encode_part(path: Path, part: int, parts: int) -> Path:
    """Writes the searcher of a part and returns its directory.

    It is written under another name and renamed, so that a killed attempt leaves
    no half of one; a name of its own for each attempt, because Beam may start one
    while the last, of a worker that it lost, still writes. The first to end counts:
    the others give the same.
    """
    vectors = files.load_vectors(path)
    own = vectors[part_rows(len(vectors), part, parts)]
    target = part_dir(path / files.SCANN, part, parts)
    work = path / TRAINED / f"{target.name}.{uuid.uuid4().hex}"
    serialise(load_over(own, path / TRAINED, work), work)
    target.parent.mkdir(exist_ok=True)
    try:
        return work.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(work)
        return target


def load_over(vectors: np.ndarray, trained: Path, work: Path) -> Any:
    """Loads a searcher over vectors that takes tree and codebooks from another one.

    Args:
        vectors: [P, d] float32.
        trained: A serialised searcher with a tree.
        work: A directory to make, write and load it from.
    """
    work.mkdir()
    for name in (CONFIG, CODEBOOK, PARTITIONER):
        shutil.copyfile(trained / name, work / name)
    np.save(work / DATASET, vectors)
    assets = "".join(
        f'assets {{ asset_type: {kind} asset_path: "{name}" }}\n' for kind, name in _KEPT.items()
    )
    (work / ASSETS).write_text(assets, encoding="utf-8")
    return load_searcher(work)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, required=True, help="the index directory")
    parser.add_argument("--part", type=int, required=True, help="which part, from 0")
    parser.add_argument("--parts", type=int, required=True, help="how many parts there are")
    args = parser.parse_args(argv)
    with reporting_errors():
        print(encode_part(args.index, args.part, args.parts))


if __name__ == "__main__":
    main()
