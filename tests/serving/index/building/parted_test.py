"""An index in four parts against the same index in one: 5,003 candidates, one sample."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from typing import NamedTuple

import numpy as np
import pytest

from serving.index import files
from serving.index.building import part_jobs
from serving.index.building.train_sample import sample_rows
from serving.index.checking.inspect import inspect
from serving.index.config import BuildConfig
from serving.index.parts import part_dir
from serving.index.parts import part_dirs
from serving.index.parts import part_rows
from serving.index.searching.backend import choose_backend
from serving.index.searching.backend import make_searcher
from serving.index.searching.portable import PortableIndex
from serving.index.tree.scann_files import CODES
from serving.index.tree.scann_files import DATASET
from serving.index.tree.scann_files import PARTITIONER
from serving.index.tree.scann_files import read_partition
from serving.index.updating.apply import apply
from tests.helpers.servables import write_vectors
from tests.serving.index.conftest import clustered
from tests.serving.index.updating.changes_test import changes_of

pytestmark = pytest.mark.slow

SIZE, DIM, LEAVES, DEPTH = 5_003, 32, 9, 120
CONFIG = BuildConfig(parts=4, training_sample=2_000, recall_at=50)
NEW = [f"item:{row}" for row in range(9_000, 9_010)]
GONE = range(1_250, 1_280)  # of part 1, where the new ones go then
HUGE = 2**29  # rows of 32 float32: 64 GiB
HUGE_PARTS = 2**16
HUGE_CONFIG = BuildConfig(parts=HUGE_PARTS, training_sample=2_000, leaves=71)
_SCRIPT = """
import resource, shutil, sys
from pathlib import Path
import numpy as np
from serving.index import files
from serving.index.building import build, encode_part, train_sample
from serving.index.checking import check
from serving.index.tree import scann_search
from serving.index.updating import apply
from serving.index.tree.scann_files import load_searcher

config, huge_config = sys.argv[1:3]
size, leaves, depth, huge_parts = map(int, sys.argv[3:])
queries, found = np.load("queries.npy"), {}

def ask(name, *depths):
    searcher = load_searcher(Path(name, "scann"))
    for depth in depths:
        rows, scores = scann_search.ask(searcher, queries, 50, depth, leaves)
        found[f"{name}_rows_{depth}"], found[f"{name}_scores_{depth}"] = rows, scores

train_sample.main(["--index", "four", "--config", config])
for other in ("one", "holes"):
    shutil.copytree("four/.trained", f"{other}/.trained")
parts = [("four", part, 4) for part in range(4)]
again = ("four", 1, 4)  # as when Beam repeats what a lost worker has done
for index, part, count in [*parts, again, ("one", 0, 1), ("holes", 2, 4)]:
    encode_part.main(["--index", index, "--part", str(part), "--parts", str(count)])
shutil.copytree("four", "encoded")
build.main(["--index", "four", "--config", config, "--queries", "queries.npy", "--encoded"])
check.main(["--index", "four", "--queries", "queries.npy", "--recall-at", "50"])
shutil.rmtree("one/.trained")
info = files.open_index("four").info
files.write_info(Path("one"), {name: info[name] for name in info if name != "files"})
for name in ("one", "four"):
    ask(name, depth, size)
    apply.main(["--index", name, "--changes", "changes", "--out", f"{name}_updated"])
    ask(f"{name}_updated", size)
np.savez("found.npz", **found)
# Private memory may grow by 1 GiB from here on; the catalogue has 64.
[held] = [line for line in open("/proc/self/status") if line.startswith("VmData")]
resource.setrlimit(resource.RLIMIT_DATA, ((int(held.split()[1]) << 10) + (1 << 30), -1))
train_sample.main(["--index", "huge", "--config", huge_config])
encode_part.main(["--index", "huge", "--part", "7", "--parts", str(huge_parts)])
"""


class Parted(NamedTuple):
    folder: Path
    vectors: np.ndarray
    queries: np.ndarray
    found: Any  # rows and scores that ScaNN gave
    checked: dict[str, Any]

    @property
    def index(self) -> files.IndexFiles:
        return files.open_index(self.folder / "four")


@pytest.fixture(scope="module")
def parted(tmp_path_factory) -> Parted:
    """Encodes the same vectors in one part and in four, in one process."""
    folder = tmp_path_factory.mktemp("parted")
    vectors = clustered(SIZE, DIM, clusters=60, sigma=1.0, seed=1)
    queries = clustered(200, DIM, clusters=60, sigma=1.0, seed=2)
    names = [f"item:{row}" for row in range(SIZE)]
    for name in ("one", "four"):
        write_vectors(folder / name, names, vectors)
    holes = np.full_like(vectors, np.nan)
    holes[part_rows(SIZE, 2, 4)] = vectors[part_rows(SIZE, 2, 4)]
    write_vectors(folder / "holes", names, holes)
    _write_sparse(folder / "huge", vectors)
    np.save(folder / "queries.npy", queries)
    moved = clustered(13, DIM, clusters=60, sigma=1.0, seed=3).tolist()
    upserts = zip(["item:9", "item:4000", "item:5002", *NEW], moved, strict=True)
    changes_of(upserts, [f"item:{row}" for row in GONE]).write(folder / "changes")
    arguments = [CONFIG.to_json(), HUGE_CONFIG.to_json()]
    arguments += map(str, (SIZE, LEAVES, DEPTH, HUGE_PARTS))
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    [checked] = [line for line in done.stdout.splitlines() if line.startswith('{"recall"')]
    return Parted(folder, vectors, queries, np.load(folder / "found.npz"), json.loads(checked))


def _write_sparse(path: Path, vectors: np.ndarray) -> None:
    """Writes vectors of which the training sample and part 7 alone take space on disk."""
    path.mkdir()
    whole = np.lib.format.open_memmap(
        path / files.VECTORS, mode="w+", dtype=np.float32, shape=(HUGE, DIM)
    )
    rows = part_rows(HUGE, 7, HUGE_PARTS)
    sample = sample_rows(HUGE, HUGE_CONFIG.training_sample)
    whole[sample] = vectors[: len(sample)]
    whole[rows] = np.resize(vectors, (rows.stop - rows.start, DIM))
    whole.flush()


def test_leaf_and_code_of_a_candidate_do_not_depend_on_the_parts(parted):
    one = read_partition(parted.folder / "one/scann")
    four = read_partition(parted.folder / "four/scann")
    np.testing.assert_array_equal(one.centres, four.centres)
    assert one.leaf.shape == (SIZE,)
    np.testing.assert_array_equal(one.leaf, four.leaf)
    distances = ((parted.vectors[:, None] - one.centres[None]) ** 2).sum(-1)
    assert (distances.argmin(1) == one.leaf).mean() > 0.99
    single = np.load(part_dir(parted.folder / "one/scann", 0, 1) / CODES)
    parts = [np.load(part / CODES) for part in part_dirs(parted.folder / "four/scann")]
    np.testing.assert_array_equal(single, np.concatenate(parts))


def test_the_merged_answer_is_no_worse_score_by_score(parted):
    one, four = (parted.found[f"{name}_scores_{DEPTH}"] for name in ("one", "four"))
    assert np.isfinite(one).all()
    assert (four >= one - 1e-6).all()
    # Rows go with their scores, in the numbers of the whole index.
    rows = parted.found[f"four_rows_{DEPTH}"]
    held = np.einsum("qd,qkd->qk", parted.queries, parted.vectors[rows])
    np.testing.assert_allclose(held, four, rtol=1e-5, atol=1e-6)


def test_where_all_is_scored_again_the_merged_answer_is_the_single_one(parted):
    one, four = (parted.found[f"{name}_rows_{SIZE}"] for name in ("one", "four"))
    np.testing.assert_array_equal(one, four)


def test_the_portable_form_gives_the_same_rows(parted):
    index = parted.index
    backend = choose_backend(index, 0)
    assert backend.name == "portable"
    of_four = make_searcher(index, backend, 50)
    leaves = index.info["search"]["leaves_to_search"]
    of_one = PortableIndex(parted.vectors, read_partition(parted.folder / "one/scann"), leaves, 50)
    nothing, now = np.full((200, 1), -1, np.int32), np.zeros(200, np.int64)
    rows, scores = of_four.search(parted.queries, nothing, now)
    wanted, wanted_scores = of_one.search(parted.queries, nothing, now)
    np.testing.assert_array_equal(rows, wanted)
    np.testing.assert_array_equal(scores, wanted_scores)


def test_a_part_is_made_of_its_own_rows_alone(parted):
    whole, alone = (
        part_dir(parted.folder / name / files.SCANN, 2, 4) for name in ("four", "holes")
    )
    for name in ("datapoint_to_token.npy", CODES, DATASET):
        assert (alone / name).read_bytes() == (whole / name).read_bytes()


def test_training_holds_the_sample_and_encoding_the_part(parted):
    trained = read_partition(parted.folder / "huge/.trained")
    assert trained.leaf.shape == (2_000,) and len(trained.centres) == 71
    written = np.load(part_dir(parted.folder / "huge/scann", 7, HUGE_PARTS) / DATASET)
    assert written.shape == (HUGE // HUGE_PARTS, DIM)
    np.testing.assert_array_equal(written, np.resize(parted.vectors, written.shape))


def test_the_search_is_tuned_and_checked_on_the_merged_answer(parted):
    info = parted.index.info
    search = info["search"]
    assert info["index_type"] == "tree_ah" and info["build"]["parts"] == 4
    assert info["build"]["leaves"] == BuildConfig().leaves_for(SIZE) == 166
    assert info["build"]["training_sample"] == 2_000
    assert search["tuned_on"] == 200
    assert search["curve"][-1]["scanned"] == SIZE
    [point] = [
        point
        for point in search["curve"]
        if (point["leaves_to_search"], point["reorder"])
        == (search["leaves_to_search"], search["reorder"])
    ]
    assert point["recall"] >= 0.99
    assert parted.checked["recall"] == pytest.approx(point["recall"], abs=1e-5)


def test_a_repeated_attempt_leaves_the_first_ones_part_and_nothing_else(parted):
    left = {path.name for path in (parted.folder / "encoded/.trained").iterdir() if path.is_dir()}
    assert left == set()
    assert len(part_dirs(parted.folder / "encoded/scann")) == 4


def test_nothing_that_the_parts_were_made_from_is_left(parted):
    assert sorted(path.name for path in (parted.folder / "four").iterdir()) == [
        "candidates.parquet", "curve.csv", "curve.svg", "index.json", "scann", "vectors.npy"
    ]  # fmt: skip
    assert [path.name for path in sorted((parted.folder / "four/scann").iterdir())] == [
        part_dir(Path(), part, 4).name for part in range(4)
    ]


def test_the_seal_covers_every_part(parted, tmp_path):
    shutil.copytree(parted.folder / "four", tmp_path / "index")
    file = part_dir(tmp_path / "index/scann", 3, 4) / CODES
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(files.IndexIntegrityError, match="part-00003-of-00004.*altered"):
        files.open_index(tmp_path / "index")
    shutil.rmtree(file.parent)
    with pytest.raises(files.IndexIntegrityError, match="missing .*part-00003-of-00004"):
        files.open_index(tmp_path / "index", check_hashes=False)
    with pytest.raises(files.IndexIntegrityError, match="not all parts of one index"):
        read_partition(tmp_path / "index/scann")


def test_inspecting_counts_all_parts(parted):
    report = inspect(parted.index)
    assert report["build"]["parts"] == 4 and report["leaves"]["count"] == 166
    assert report["bytes"]["index"]["re-ranking vectors"] == 4 * 128 + SIZE * DIM * 4
    assert report["recall"]["recall"] >= 0.99


def test_parts_of_other_vectors_are_refused(parted, tmp_path):
    shutil.copytree(parted.folder / "encoded", tmp_path / "index")
    vectors = parted.vectors.copy()
    vectors[-1] = 0
    np.save(tmp_path / "index" / files.VECTORS, vectors)
    with pytest.raises(files.IndexIntegrityError, match="part-00003-of-00004` holds other vectors"):
        part_jobs.collect(tmp_path / "index", files.load_vectors(tmp_path / "index"), 4)
    with pytest.raises(files.IndexIntegrityError, match="4 encoded parts, and 5 were expected"):
        part_jobs.collect(tmp_path / "index", parted.vectors, 5)
    tree = part_dir(tmp_path / "index/scann", 1, 4) / PARTITIONER
    tree.write_bytes(tree.read_bytes() + b"\0")
    with pytest.raises(files.IndexIntegrityError, match="not the one that was trained"):
        part_jobs.collect(tmp_path / "index", parted.vectors, 4)


def test_an_update_goes_to_the_parts_and_gives_the_answers_of_one(parted):
    indexes = [files.open_index(parted.folder / f"{name}_updated") for name in ("one", "four")]
    names = [np.array(index.candidates["id"].to_pylist()) for index in indexes]
    one, four = (np.argsort(own) for own in names)
    np.testing.assert_array_equal(names[0][one], names[1][four])
    kept = {f"item:{row}" for row in range(SIZE) if row not in GONE}
    assert set(names[1]) == kept | set(NEW)
    np.testing.assert_array_equal(indexes[0].vectors[one], indexes[1].vectors[four])
    leaves = [read_partition(index.scann_dir).leaf for index in indexes]
    np.testing.assert_array_equal(leaves[0][one], leaves[1][four])
    answers = [
        own[parted.found[f"{name}_updated_rows_{SIZE}"]]
        for own, name in zip(names, ("one", "four"), strict=True)
    ]
    np.testing.assert_array_equal(*answers)
    assert set(answers[1].ravel()) & set(NEW)
    sizes = [len(np.load(part / DATASET)) for part in part_dirs(indexes[1].scann_dir)]
    assert sizes == [1_250, 1_251 - 30 + 10, 1_251, 1_251]
    assert indexes[1].info["updated"] == {"times": 1, "upserted": 13, "deleted": 30}


def test_parts_are_neither_trained_again_one_by_one_nor_emptied(parted, tmp_path):
    with pytest.raises(ValueError, match="4 parts of one tree"):
        apply(parted.index, changes_of(), tmp_path / "out", rebalance=True)
    first = changes_of((), [f"item:{row}" for row in range(1_250)])
    with pytest.raises(ValueError, match=r"all candidates of the parts \[0\]"):
        apply(parted.index, first, tmp_path / "out")
    assert not (tmp_path / "out").exists()
