"""What several tests of the index read: built once, for that takes ten seconds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from serving.index.config import BuildConfig
from serving.index.files import IndexFiles
from tests.helpers.servables import build_index
from tests.helpers.servables import write_vectors


class Large(NamedTuple):
    index: IndexFiles
    queries: np.ndarray  # [300, 32] float32, of the same clusters as the candidates


def clustered(count: int, dim: int, clusters: int, sigma: float, seed: int) -> np.ndarray:
    """Unit vectors around `clusters` centres, which do not depend on the seed."""
    centres = np.random.default_rng(0).normal(size=(clusters, dim))
    rng = np.random.default_rng(seed)
    points = centres[rng.integers(0, clusters, count)] + sigma * rng.normal(size=(count, dim))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Large:
    """25,000 candidates, of which a tenth becomes available at time 1,000, with a ScaNN tree."""
    path: Path = tmp_path_factory.mktemp("large") / "index"
    ids = [f"item:{i}" for i in range(25_000)]
    vectors = clustered(len(ids), 32, clusters=200, sigma=1.0, seed=1)
    write_vectors(path, ids, vectors, {name: 1_000 for name in ids[::10]})
    index = build_index(path, BuildConfig(leaves_to_search=16, reorder=400))
    return Large(index, clustered(300, 32, clusters=200, sigma=1.0, seed=2))
