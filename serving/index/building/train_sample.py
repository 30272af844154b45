"""Trains leaves and codebooks on a sample of an index's vectors, before its parts are encoded.

    python -m serving.index.building.train_sample --index DIR --config JSON

It reads the sampled rows of `vectors.npy` alone, and writes `.trained/`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.index import files
from serving.index.building.build import train
from serving.index.building.part_jobs import INFO
from serving.index.building.part_jobs import TRAINED
from serving.index.config import BuildConfig
from serving.index.processes import reporting_errors
from serving.index.tree.scann_files import serialise


def train_sample(path: Path, config: BuildConfig) -> None:
    """Writes a searcher over the sample, and what `index.json` will say of it."""
    vectors = files.load_vectors(path)
    rows = sample_rows(len(vectors), config.training_sample)
    searcher, info = train(np.ascontiguousarray(vectors[rows]), config, total=len(vectors))
    serialise(searcher, path / TRAINED)
    (path / TRAINED / INFO).write_text(json.dumps(info), encoding="utf-8")


def sample_rows(size: int, sample: int) -> np.ndarray:
    """Returns at most `sample` of `size` rows in order, the same every time: [S] int64."""
    if size <= sample:
        return np.arange(size)
    return np.sort(np.random.default_rng(0).choice(size, sample, replace=False, shuffle=False))


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, required=True, help="the index directory")
    parser.add_argument("--config", default="{}", help="a BuildConfig as JSON")
    args = parser.parse_args(argv)
    with reporting_errors():
        train_sample(args.index, BuildConfig.model_validate_json(args.config))


if __name__ == "__main__":
    main()
