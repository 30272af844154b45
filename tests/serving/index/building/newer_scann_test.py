"""The building code with a newer ScaNN, in an environment that has no TensorFlow at all."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.environment import ROOT
from benchmarks.peers.environment import peer_python
from serving.index import files
from serving.index.building import curve
from serving.index.checking import validate
from serving.index.config import BuildConfig
from serving.index.config import CheckConfig
from serving.index.parts import part_dirs
from serving.index.queries import load_queries
from serving.index.tree.scann_files import read_partition
from tests.helpers.servables import write_vectors
from tests.serving.index.conftest import MOVIES

pytestmark = pytest.mark.slow

_MODULES = """
import sys
import serving.index.building.build, serving.index.building.train_sample
import serving.index.building.encode_part, serving.index.checking.check
import serving.index.updating.apply
print(sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.fixture(scope="module")
def newer() -> Path:
    """The Python of an environment with what `benchmarks/peers/requirements-scann.txt` says."""
    try:
        return peer_python("scann")
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"The environment of a newer ScaNN could not be made (no network?): {error}")


def run(python: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the newer environment's Python where it finds this project and nothing else of ours."""
    return subprocess.run(
        [python, *map(str, arguments)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module", params=[1, 3], ids=["whole", "in parts"])
def built(newer, workshop, tmp_path_factory, request) -> files.IndexFiles:
    """The index `movies` of the workshop, built by the newer ScaNN, whole and in parts."""
    path = write_vectors(tmp_path_factory.mktemp("newer") / "index", MOVIES, workshop.movies)
    config = BuildConfig(recall_at=50, parts=request.param).to_json()
    queries = workshop.folder / "movies.npy"
    done = run(
        newer,
        "-m",
        "serving.index.building.build",
        "--index",
        path,
        "--config",
        config,
        "--queries",
        queries,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    index = files.open_index(path)
    assert len(part_dirs(index.scann_dir)) == (request.param if request.param > 1 else 0)
    return index


def test_there_is_a_newer_scann_and_no_tensorflow(newer):
    found = run(newer, "-c", "from importlib.metadata import version; print(version('scann'))")
    assert tuple(map(int, found.stdout.split(".")[:2])) >= (1, 4)
    assert "No module named 'tensorflow'" in run(newer, "-c", "import tensorflow").stderr


def test_the_building_code_imports_neither_tensorflow_nor_the_models(newer):
    done = run(newer, "-c", _MODULES)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "serving" in done.stdout and "numpy" in done.stdout
    for name in ("tensorflow", "models", "tfx", "tfx_pipeline", "apache_beam"):
        assert f"'{name}'" not in done.stdout


def test_its_tree_is_read_like_the_older_ones(built, workshop):
    partition = read_partition(built.scann_dir)
    older = read_partition(workshop.index("movies").scann_dir)
    assert partition.centres.shape == older.centres.shape
    distances = ((workshop.movies[:, None] - partition.centres[None]) ** 2).sum(-1)
    assert (distances.argmin(1) == partition.leaf).mean() > 0.99


def test_it_reaches_the_same_recall(built, workshop):
    search = built.info["search"]
    [chosen] = [point for point in search["curve"] if curve.is_chosen(point, search)]
    assert search["tuned_on"] == 200 and chosen["recall"] >= 0.99
    queries = load_queries(workshop.folder / "movies.npy")
    check = CheckConfig(recall_at=50, exact_below=0)
    answer = validate.measure_answer(built, queries, check)
    assert answer["backend"] == "portable" and answer["recall"] >= 0.98


def test_its_check_runs_without_tensorflow_too(newer, built, workshop):
    queries = workshop.folder / "movies.npy"
    arguments = ["--index", built.path, "--queries", queries, "--recall-at", "50"]
    done = run(newer, "-m", "serving.index.checking.check", *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1])["recall"] >= 0.99
