from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from serving.index import files
from serving.index import processes
from serving.index.building import curve
from serving.index.tree.scann_files import PARTITIONER
from serving.index.tree.scann_files import Partition
from serving.index.tree.scann_files import leaf_sizes
from serving.index.tree.scann_files import read_partition
from tests.helpers.servables import write_vectors
from tests.serving.index.conftest import MOVIES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(workshop):
    """An index of MovieLens's size, tuned on queries."""
    return workshop.index("movies")


def test_the_tree_is_over_all_candidates(built, workshop):
    assert built.info["index_type"] == "tree_ah"
    assert built.info["towers"] == "abc"
    partition = read_partition(built.scann_dir)
    assert partition.centres.shape == (built.info["build"]["leaves"], 16)
    assert partition.leaf.shape == (len(MOVIES),)
    # k-means: a candidate's centre is the nearest one.
    distances = ((workshop.movies[:, None] - partition.centres[None]) ** 2).sum(-1)
    assert (distances.argmin(1) == partition.leaf).mean() > 0.99


def test_no_docids_and_no_absolute_path_is_written(built):
    names = {file.name for file in built.scann_dir.iterdir()}
    assert "scann_docids.pkl" not in names
    assert str(built.path) not in (built.scann_dir / "scann_assets.pbtxt").read_text()


def test_the_search_was_tuned_to_the_target(built):
    search = built.info["search"]
    assert search["tuned_on"] == 200
    assert search["recall_at"] == 50
    [chosen] = [point for point in search["curve"] if curve.is_chosen(point, search)]
    assert chosen["recall"] >= 0.99

    def cost(point):
        return point["scanned"] + 20 * point["reorder"]

    assert all(point["recall"] < 0.99 for point in search["curve"] if cost(point) < cost(chosen))
    assert len({point["reorder"] for point in search["curve"]}) > 1


def test_the_whole_curve_is_measured_and_written(built, workshop):
    points = built.info["search"]["curve"]
    leaves = built.info["build"]["leaves"]
    assert points[-1]["leaves_to_search"] == leaves
    assert points[-1]["scanned"] == len(MOVIES)  # all leaves hold all candidates
    queries = np.load(workshop.folder / "movies.npy")
    partition = read_partition(built.scann_dir)
    best = (queries @ partition.centres.T).argmax(1)
    held = np.bincount(partition.leaf, minlength=leaves)[best].mean()
    assert points[0]["leaves_to_search"] == 1
    assert points[0]["scanned"] == pytest.approx(held, abs=0.06)
    assert (built.path / curve.TABLE).read_text() == curve.to_csv(points)
    assert {curve.TABLE, curve.PLOT} <= set(built.info["files"])


def test_leaf_sizes_by_hand():
    leaf = np.array([0, 0, 0, 2, 2, 3], np.int32)
    found = leaf_sizes(Partition(np.zeros((4, 2), np.float32), leaf))
    assert found == {
        "min": 0, "median": 1.5, "mean": 1.5, "max": 3, "cv": round(1.25**0.5 / 1.5, 4), "empty": 1
    }  # fmt: skip


def test_the_same_vectors_give_the_same_files(built, workshop):
    again = workshop.index("again")
    names = ("scann/datapoint_to_token.npy", "scann/hashed_dataset.npy", f"scann/{PARTITIONER}")
    for name in names:
        assert again.info["files"][name] == built.info["files"][name]


def test_few_candidates_are_searched_by_brute_force(workshop):
    index = workshop.index("few")
    assert index.info["index_type"] == "brute_force"
    assert index.info["candidate_types"] == {"a": 2, "b": 1}
    with pytest.raises(FileNotFoundError, match="has no tree"):
        read_partition(index.scann_dir)


def test_a_damaged_tree_is_an_error(built, tmp_path):
    for name in (PARTITIONER, "datapoint_to_token.npy"):
        shutil.copy(built.scann_dir / name, tmp_path / name)
    data = (tmp_path / PARTITIONER).read_bytes()
    (tmp_path / PARTITIONER).write_bytes(data[: len(data) // 2])
    with pytest.raises(files.IndexIntegrityError, match="cannot be read"):
        read_partition(tmp_path)


def test_building_needs_neither_tensorflow_nor_models():
    script = (
        "import sys\n"
        "for name in ('tensorflow', 'models', 'tfx', 'apache_beam', 'pandas'):\n"
        "    sys.modules[name] = None\n"
        "import serving.index.building.build, serving.index.building.train_sample\n"
        "import serving.index.building.encode_part, serving.index.checking.check\n"
        "import serving.index.updating.apply\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=dict(os.environ))


def test_the_modules_own_message_reaches_the_caller(tmp_path):
    write_vectors(tmp_path, ["a:1", "a:1"], np.eye(2))
    with pytest.raises(ValueError, match="serving.index.building.build.*holds candidates twice"):
        processes.run_module("serving.index.building.build", ["--index", str(tmp_path)])


def test_a_crash_is_told_with_its_last_lines():
    with pytest.raises(RuntimeError, match="No module named serving.index.absent"):
        processes.run_module("serving.index.absent", [])
