"""What several tests of the index read, built once: it takes seconds to import ScaNN."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from typing import NamedTuple

import numpy as np
import pytest

from serving.index import files
from serving.index.config import BuildConfig
from serving.index.queries import Queries
from serving.index.queries import save_queries
from tests.helpers.servables import write_vectors

MOVIES = [f"movie:{i}" for i in range(3_416)]  # as many as MovieLens-1M has in its sequences
ITEMS = [f"item:{i}" for i in range(25_000)]
_SCRIPT = """
import shutil
from serving.index.building import build
from serving.index.checking import check

for call in {calls!r}:
    build.main(call)
shutil.copytree("large", "moved")
check.main(["--index", "moved", "--queries", "large.npy", "--recall-at", "100"])
check.main(["--index", "mixed", "--queries", "mixed.npz", "--recall-at", "50"])
"""


class Workshop(NamedTuple):
    folder: Path
    movies: np.ndarray  # [3,416, 16] float32
    queries: np.ndarray  # [300, 32] float32, of the same clusters as the items
    scann: dict[str, Any]  # what `serving.index.checking.check` measured with the queries
    mixed: dict[str, Any]  # and with the mixtures of `mixed.npz`, of the movies

    def index(self, name: str) -> files.IndexFiles:
        """Opens `movies` (tuned on queries), `mixed` (on mixtures), `again`, `few` or `large`."""
        return files.open_index(self.folder / name)


def clustered(count: int, dim: int, clusters: int, sigma: float, seed: int) -> np.ndarray:
    """Unit vectors around `clusters` centres, which do not depend on the seed."""
    centres = np.random.default_rng(0).normal(size=(clusters, dim))
    rng = np.random.default_rng(seed)
    points = centres[rng.integers(0, clusters, count)] + sigma * rng.normal(size=(count, dim))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Builds five indexes in one process and measures a moved copy of the large one."""
    folder = tmp_path_factory.mktemp("workshop")
    movies = clustered(len(MOVIES), 16, clusters=40, sigma=1.0, seed=3)
    items = clustered(len(ITEMS), 32, clusters=200, sigma=1.0, seed=1)
    queries = clustered(300, 32, clusters=200, sigma=1.0, seed=2)
    for name in ("movies", "mixed", "again"):
        write_vectors(folder / name, MOVIES, movies)
    write_vectors(folder / "few", ["a:1", "a:2", "b:1"], np.eye(3))
    # A tenth becomes available at time 1,000.
    write_vectors(folder / "large", ITEMS, items, {name: 1_000 for name in ITEMS[::10]})
    np.save(folder / "large.npy", queries)
    np.save(folder / "movies.npy", clustered(200, 16, clusters=40, sigma=1.0, seed=4))
    interests = 4.0 * clustered(150, 16, clusters=40, sigma=1.0, seed=5).reshape(50, 3, 16)
    weight = np.random.default_rng(6).dirichlet(np.ones(3), 50).astype(np.float32)
    save_queries(folder / "mixed.npz", Queries(interests, weight))
    tuned = BuildConfig(recall_at=50).to_json()
    fixed = BuildConfig(leaves=159, leaves_to_search=16, reorder=400).to_json()
    calls = [
        ["--index", "movies", "--config", tuned, "--towers", "abc", "--queries", "movies.npy"],
        ["--index", "mixed", "--config", tuned, "--queries", "mixed.npz"],
        ["--index", "again", "--config", BuildConfig(recall_at=50, leaves_to_search=9).to_json()],
        ["--index", "few"],
        ["--index", "large", "--config", fixed],
    ]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(calls=calls)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    scann, mixed = map(json.loads, done.stdout.strip().splitlines()[-2:])
    return Workshop(folder, movies, queries, scann, mixed)
