"""Updates of a real servable over a real ScaNN tree: 2,000 candidates, tiny towers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from serving.index import files
from serving.index.config import BuildConfig
from serving.index.config import ServeConfig
from serving.index.search_quality import recall
from serving.index.searching.assemble import write_servable
from serving.index.tree.routing import sources
from serving.index.tree.scann_files import read_partition
from serving.index.updating.changes import Changes
from serving.index.updating.update import NOTE
from serving.index.updating.update import embed_rows
from serving.index.updating.update import open_version
from serving.index.updating.update import update
from tests.helpers.examples import catalogue_row
from tests.helpers.examples import timeline
from tests.helpers.operations import operations
from tests.helpers.servables import build_index
from tests.helpers.servables import write_vectors
from tests.helpers.sources import weights_of
from tests.helpers.sources import write_combination
from tests.helpers.sources import write_neighbours
from tests.helpers.towers import TinyTowers
from tests.serving.index.updating.changes_test import changes_of

pytestmark = pytest.mark.slow

IDS = [f"movie:{i}" for i in range(2_000)]
NEW = [f"movie:{i}" for i in range(9_000, 9_040)]
GONE = [*IDS[1_980:], *IDS[5:25]]
MOVED = IDS[100]  # gets the vector of another name
SECTION = {
    "exact_below": 0,
    "min_recall": 0.9,
    "max_latency_ms": 1e9,  # a busy machine is no fault of the index
    "validation_queries": 200,
}
_SEARCH = """
import sys
import numpy as np
from pathlib import Path
from serving.index import files
from serving.index.tree import scann_search
from serving.index.tree.scann_files import load_searcher
index, queries, out = map(Path, sys.argv[1:])
searcher = load_searcher(files.open_index(index).scann_dir)
np.save(out, scann_search.search(searcher, np.load(queries), 20, 2_000, 40))
"""


class UnitTowers(TinyTowers):
    """Every entity has a vector of length 1, so that it is the best answer to itself."""

    def vectors(self, names: tf.Tensor) -> tf.Tensor:
        return tf.math.l2_normalize(super().vectors(names), axis=-1)


def save_unit_towers(path: Path) -> UnitTowers:
    """Saves them in 64 dimensions, where no two vectors are near each other."""
    towers = UnitTowers(dim=64)
    names = ("serving_default", "embed_query", "embed_candidate")
    tf.saved_model.save(
        towers, str(path), signatures={name: getattr(towers, name) for name in names}
    )
    return towers


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A servable in the portable backend, as version 4, with something else beside it."""
    path = tmp_path_factory.mktemp("update")
    towers = save_unit_towers(path / "towers")
    write_vectors(path / "index", IDS, towers.vectors(tf.constant(IDS)).numpy())
    config = BuildConfig(leaves=45, leaves_to_search=40, reorder=400)
    build_index(path / "index", config, path / "towers")
    # Only who saw the video is recommended neighbours; for all others the tower decides.
    lists = {"video:1": {NEW[0]: 0.75, GONE[0]: 0.5, IDS[3]: 0.25}}
    digest = write_neighbours(path / "neighbours", lists, {})
    weights = weights_of(tower=1.0, neighbours_of_last=10.0)
    fingerprint = files.directory_fingerprint(path / "towers")
    write_combination(path / "combination", weights, digest, fingerprint)
    write_servable(
        path / "towers",
        path / "index",
        path / "pushed/4",
        ServeConfig(k=20, exact_below=0),
        path / "neighbours",
        path / "combination",
    )
    (path / "pushed/4/assets.extra").mkdir()
    (path / "pushed/4/assets.extra/requests").write_bytes(b"abc")
    (path / "pushed/4/config.json").write_text("{}")
    return path


@pytest.fixture(scope="module")
def changes(workplace) -> Changes:
    """New candidates and a changed one, embedded by the servable itself; some go."""
    version = open_version(workplace / "pushed/4")
    vectors = embed_rows(version, [catalogue_row(name) for name in NEW])
    moved = embed_rows(version, [catalogue_row("movie:other")])[0]
    pairs = [*zip(NEW, vectors.tolist(), strict=True), (MOVED, moved.tolist())]
    return changes_of(pairs, GONE)


@pytest.fixture(scope="module")
def updated(workplace, changes):
    """The updated servable, and the report."""
    version = open_version(workplace / "pushed/4", SECTION)
    report = update(version, changes, workplace / "next", workplace / "work")
    return workplace / "next", report


def ask(path: Path, *histories: list[str]) -> tuple[np.ndarray, np.ndarray]:
    model = tf.saved_model.load(str(path))
    examples = tf.constant([timeline("u", history) for history in histories])
    answer = model.signatures["serving_default"](examples=examples)
    return answer["classes"].numpy().astype(str), answer["scores"].numpy()


def test_the_report_counts_and_measures(updated):
    _, report = updated
    assert report["blessed"] and report["reasons"] == []
    assert (report["upserted"], report["deleted"], report["candidates"]) == (41, 40, 2_000)
    assert report["scann"]["recall"] > 0.9 and report["scann"]["recall_at"] == 100
    assert report["backend"] == "portable"
    assert (report["queries"], report["asked"]) == (200, "vectors of the index")


def test_upserted_candidates_are_recommended_to_their_like(updated):
    ids, _ = ask(updated[0], *[[name] for name in NEW])
    assert ids[:, 0].tolist() == NEW


def test_deleted_candidates_are_recommended_to_nobody(workplace, updated):
    histories = [[name] for name in GONE]
    before, _ = ask(workplace / "pushed/4", *histories)
    assert before[:, 0].tolist() == GONE
    after, _ = ask(updated[0], *histories)
    assert not set(after.ravel()) & set(GONE)
    assert (after != "").all()


def test_a_changed_vector_counts_and_the_old_one_does_not(updated):
    ids, _ = ask(updated[0], ["movie:other"], [MOVED])
    assert ids[0, 0] == MOVED
    assert ids[1, 0] != MOVED


def test_neighbours_follow_their_names_as_rows_come_and_go(workplace, updated):
    before, _ = ask(workplace / "pushed/4", ["video:1"])
    assert before[0, :2].tolist() == [GONE[0], IDS[3]]
    after, _ = ask(updated[0], ["video:1"])
    assert after[0, :2].tolist() == [NEW[0], IDS[3]]
    old, new = (
        (path / "sources" / "combination.json").read_text()
        for path in (workplace / "pushed/4", updated[0])
    )
    assert old == new


def test_untouched_candidates_keep_their_place_and_score(workplace, updated):
    touched = [*GONE, *NEW, MOVED]
    histories = [[name] for name in IDS[200:260]]
    old_ids, old_scores = ask(workplace / "pushed/4", *histories)
    new_ids, new_scores = ask(updated[0], *histories)
    compared = 0
    for row in range(len(histories)):
        old = ~np.isin(old_ids[row], touched)
        new = ~np.isin(new_ids[row], touched)
        shared = min(old.sum(), new.sum())
        compared += shared
        # Of 45 leaves 40 are searched, so that all of the best are found.
        assert old_ids[row][old][:shared].tolist() == new_ids[row][new][:shared].tolist()
        np.testing.assert_allclose(
            old_scores[row][old][:shared], new_scores[row][new][:shared], rtol=1e-5
        )
    assert compared > 15 * len(histories)


def test_new_candidates_lie_in_their_nearest_leaf_and_the_tree_is_the_old_one(workplace, updated):
    before = read_partition(workplace / "index/scann")
    index = files.open_index(updated[0] / "index")
    after = read_partition(index.scann_dir)
    np.testing.assert_array_equal(before.centres, after.centres)
    row = {name: row for row, name in enumerate(index.candidates["id"].to_pylist())}
    rows = [row[name] for name in NEW]
    distances = ((index.vectors[rows][:, None] - after.centres[None]) ** 2).sum(-1)
    assert distances.argmin(1).tolist() == after.leaf[rows].tolist()
    old = {name: leaf for name, leaf in zip(IDS, before.leaf, strict=True)}
    kept = [name for name in row if name in old and name != MOVED]
    assert [after.leaf[row[name]] for name in kept] == [old[name] for name in kept]


def test_scann_and_the_servable_agree(updated, tmp_path):
    index = files.open_index(updated[0] / "index")
    model = tf.saved_model.load(str(updated[0]))
    histories = [[name, IDS[number]] for number, name in enumerate([*NEW, *IDS[1_000:1_060]])]
    examples = tf.constant([timeline("u", history) for history in histories])
    found = model.signatures["serving_default"](examples=examples)["classes"].numpy().astype(str)
    towers = model.towers.signatures["serving_default"]
    queries = towers(examples=examples)["embedding"].numpy()
    np.save(tmp_path / "queries.npy", queries)
    arguments = [str(index.path), str(tmp_path / "queries.npy"), str(tmp_path / "rows.npy")]
    subprocess.run([sys.executable, "-c", _SEARCH, *arguments], check=True, capture_output=True)
    names = np.array(index.candidates["id"].to_pylist())
    wanted = names[np.load(tmp_path / "rows.npy")]
    same = [len(set(a) & set(b)) / 20 for a, b in zip(found, wanted, strict=True)]
    assert np.mean(same) >= 0.998  # the servable may search a leaf more
    row = {name: number for number, name in enumerate(names)}
    rows = np.vectorize(row.get)(found)
    ours = recall(np.asarray(index.vectors), queries, rows, 20).mean()
    assert ours >= recall(np.asarray(index.vectors), queries, np.load(arguments[2]), 20).mean()


def test_the_index_files_say_what_happened(workplace, updated, changes):
    index = files.open_index(updated[0] / "index")
    assert index.info["updated"] == {"times": 1, "upserted": 41, "deleted": 40}
    assert index.info["measured"]["recall"] == updated[1]["scann"]["recall"]
    before = files.open_index(workplace / "index")
    assert index.info["towers"] == before.info["towers"]
    assert index.info["search"] == before.info["search"]
    rows = {name: row for row, name in enumerate(IDS)}
    upserted = [rows.get(name) for name in changes.upserts["id"].to_pylist()]
    source = sources(2_000, upserted, sorted((rows[name] for name in GONE), reverse=True))
    both = np.concatenate([before.vectors, changes.vectors])
    np.testing.assert_array_equal(index.vectors, both[source])


def test_the_rest_of_the_version_goes_along_with_a_note(updated):
    path, report = updated
    assert (path / "assets.extra/requests").read_bytes() == b"abc"
    assert (path / "config.json").read_text() == "{}"
    note = json.loads((path / NOTE).read_text())
    assert note["version"] == 4 and note["upserted"] == report["upserted"]
    description = json.loads((path / "servable.json").read_text())
    assert description["candidates"] == 2_000 and description["k"] == 20
    assert description["index"] == files.open_index(path / "index").fingerprint


def test_it_still_holds_stock_operations_only(updated):
    found = operations(updated[0])
    assert found["unknown"] == [] and not found["scann"]


def test_an_updated_version_is_updated_again_and_does_not_grow(workplace, updated, tmp_path):
    version = open_version(updated[0], SECTION)
    report = update(version, changes_of((), NEW), tmp_path / "out", tmp_path / "work")
    assert report["blessed"] and report["candidates"] == 1_960
    ids, _ = ask(tmp_path / "out", *[[name] for name in NEW])
    assert not set(ids.ravel()) & set(NEW)
    index = files.open_index(tmp_path / "out/index")
    assert index.info["updated"]["times"] == 2 and index.info["updated"]["deleted"] == 80
    sizes = [(path / "saved_model.pb").stat().st_size for path in (updated[0], tmp_path / "out")]
    assert sizes[1] < 1.05 * sizes[0]


def test_rebalancing_trains_the_leaves_again(workplace, changes, tmp_path):
    version = open_version(workplace / "pushed/4", SECTION)
    report = update(version, changes, tmp_path / "out", tmp_path / "work", rebalance=True)
    assert report["blessed"]
    before = read_partition(workplace / "index/scann")
    index = files.open_index(tmp_path / "out/index")
    after = read_partition(index.scann_dir)
    assert after.centres.shape == before.centres.shape
    assert not np.allclose(after.centres, before.centres)
    vectors = np.asarray(index.vectors)
    nearest = ((vectors[:, None] - after.centres[None]) ** 2).sum(-1).argmin(1)
    assert (nearest == after.leaf).mean() > 0.99
    assert index.info["updated"] == {"times": 1, "upserted": 0, "deleted": 0}
    ids, _ = ask(tmp_path / "out", *[[name] for name in NEW])
    assert ids[:, 0].tolist() == NEW


def test_an_index_without_a_tree_is_updated_too(workplace, tmp_path):
    names = IDS[:300]
    vectors = files.load_vectors(workplace / "index")[:300]
    write_vectors(tmp_path / "index", names, vectors, {"movie:7": 1_000})
    towers = workplace / "towers"
    build_index(tmp_path / "index", towers_dir=towers)
    write_servable(towers, tmp_path / "index", tmp_path / "1", ServeConfig(k=300))
    vector = np.asarray(vectors[3] + vectors[4])
    changes = changes_of([("movie:new", vector.tolist())], ["movie:3", "movie:299", "movie:0"])
    report = update(open_version(tmp_path / "1"), changes, tmp_path / "out", tmp_path / "work")
    assert report["blessed"] and report["backend"] == "exact" and report["scann"]["recall"] == 1.0
    index = files.open_index(tmp_path / "out/index")
    left = [name for name in names if name not in ("movie:3", "movie:299", "movie:0")]
    assert sorted(index.candidates["id"].to_pylist()) == sorted([*left, "movie:new"])
    dated = {row["id"]: row["available_from"] for row in index.candidates.to_pylist()}
    assert dated["movie:7"] == 1_000 and dated["movie:new"] is None
    ids, scores = ask(tmp_path / "out", ["movie:50"])
    old_ids, old_scores = ask(tmp_path / "1", ["movie:50"])
    kept = np.isin(old_ids[0], left)
    assert old_ids[0][kept].tolist() == [name for name in ids[0] if name in left]
    np.testing.assert_allclose(old_scores[0][kept], scores[0][np.isin(ids[0], left)], rtol=1e-5)


def test_below_the_floor_nothing_is_written_and_the_version_stays(workplace, changes, tmp_path):
    strict = {**SECTION, "min_recall": 1.0, "target_recall": 1.0}
    before = files.directory_fingerprint(workplace / "pushed/4")
    vectors = np.random.default_rng(0).normal(size=(60, 64))
    far = [(f"movie:{9_100 + row}", vector.tolist()) for row, vector in enumerate(vectors)]
    version = open_version(workplace / "pushed/4", strict)
    report = update(version, changes_of(far), tmp_path / "out", tmp_path / "work")
    assert not report["blessed"]
    assert "recall@100 of ScaNN is" in report["reasons"][0]
    assert not (tmp_path / "out").exists()
    assert files.directory_fingerprint(workplace / "pushed/4") == before


def test_an_index_of_nothing_is_refused(workplace, tmp_path):
    version = open_version(workplace / "pushed/4", SECTION)
    with pytest.raises(ValueError, match="take out every candidate"):
        update(version, changes_of((), IDS), tmp_path / "out", tmp_path / "work")


def test_a_servable_beside_another_index_is_refused(workplace, tmp_path):
    with pytest.raises(FileNotFoundError, match="no pushed version"):
        open_version(tmp_path)
    description = json.loads((workplace / "pushed/4/servable.json").read_text())
    (tmp_path / "servable.json").write_text(json.dumps({**description, "index": "abc"}))
    (tmp_path / "index").symlink_to(workplace / "index")
    with pytest.raises(files.IndexIntegrityError, match="another index"):
        open_version(tmp_path)
