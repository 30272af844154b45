from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from serving.index import files
from serving.pickles import PickledFileError
from tests.helpers.servables import seal_without_scann
from tests.helpers.servables import write_vectors

IDS = ["movie:2", "movie:1", "video:1"]


@pytest.fixture
def index(tmp_path):
    path = tmp_path / "index"
    write_vectors(path, IDS, np.eye(3, 4), {"movie:1": 5})
    seal_without_scann(path)
    return path


def test_what_is_written_is_read(index):
    opened = files.open_index(index)
    assert opened.candidates["id"].to_pylist() == IDS
    assert opened.candidates["entity_type"].to_pylist() == ["movie", "movie", "video"]
    assert opened.candidates["available_from"].to_pylist() == [None, 5, None]
    np.testing.assert_array_equal(opened.vectors, np.eye(3, 4, dtype=np.float32))
    assert opened.size == 3
    assert opened.info["candidate_types"] == {"movie": 2, "video": 1}


def test_a_moved_index_stays_whole(index, tmp_path):
    before = files.open_index(index).fingerprint
    index.rename(tmp_path / "elsewhere")
    assert files.open_index(tmp_path / "elsewhere").fingerprint == before


def test_no_index(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no `index.json`"):
        files.open_index(tmp_path)


def test_an_altered_file_of_the_same_size(index):
    data = bytearray((index / files.VECTORS).read_bytes())
    data[-2] ^= 1
    (index / files.VECTORS).write_bytes(data)
    with pytest.raises(files.IndexIntegrityError, match="altered or cut short"):
        files.open_index(index)


def test_a_file_cut_short_is_seen_without_hashing(index):
    data = (index / files.VECTORS).read_bytes()
    (index / files.VECTORS).write_bytes(data[:-4])
    with pytest.raises(files.IndexIntegrityError, match="altered or cut short"):
        files.open_index(index, check_hashes=False)


@pytest.mark.parametrize("change", ["add", "remove"])
def test_a_file_too_many_or_too_few(index, change):
    if change == "add":
        (index / "notes.txt").write_text("hello")
    else:
        (index / files.CANDIDATES).unlink()
    with pytest.raises(files.IndexIntegrityError, match="missing .* added"):
        files.open_index(index)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ["scann_docids.pkl", "innocent.bin"])
def test_pickles_are_refused(index, protocol, name):
    if protocol == 3 or name.endswith("bin"):
        (index / name).write_bytes(pickle.dumps(IDS, protocol=protocol))
    else:
        (index / name).write_bytes(b"not even read")
    with pytest.raises(PickledFileError, match="pickle"):
        files.open_index(index)
    with pytest.raises(PickledFileError, match="pickle"):
        files.write_info(index, {})


def test_an_array_of_objects_is_a_pickle(index):
    np.save(index / files.VECTORS, np.array([{}, {}], object), allow_pickle=True)
    with pytest.raises(PickledFileError, match="pickle"):
        files.open_index(index)


def test_counts_have_to_agree(tmp_path):
    write_vectors(tmp_path, IDS, np.eye(2, 4))
    with pytest.raises(files.IndexIntegrityError, match="3 candidates and 2 vectors"):
        seal_without_scann(tmp_path)


def test_repeated_ids(tmp_path):
    write_vectors(tmp_path, ["a:1", "a:2", "a:1"], np.eye(3))
    with pytest.raises(files.IndexIntegrityError, match=r"twice: \['a:1'\]"):
        seal_without_scann(tmp_path)


def test_values_that_are_not_finite(tmp_path):
    vectors = np.eye(3)
    vectors[1, 2] = np.nan
    write_vectors(tmp_path, IDS, vectors)
    with pytest.raises(files.IndexIntegrityError, match=r"not finite: \['movie:1'\]"):
        seal_without_scann(tmp_path)


def test_wrong_type_of_vectors(tmp_path):
    write_vectors(tmp_path, IDS, np.eye(3))
    np.save(tmp_path / files.VECTORS, np.eye(3))
    with pytest.raises(files.IndexIntegrityError, match="float64"):
        files.load_vectors(tmp_path)


def test_another_version_of_the_format(index):
    info = json.loads((index / files.INDEX).read_text())
    (index / files.INDEX).write_text(json.dumps({**info, "format_version": 99}))
    with pytest.raises(files.IndexIntegrityError, match="format version 99"):
        files.open_index(index)


def test_a_directorys_fingerprint_sees_names_and_contents(tmp_path):
    one, two, three = (tmp_path / name for name in "abc")
    for folder, name, text in ((one, "x", "1"), (two, "x", "1"), (three, "y", "1")):
        folder.mkdir()
        (folder / name).write_text(text)
    assert files.directory_fingerprint(one) == files.directory_fingerprint(two)
    assert files.directory_fingerprint(one) != files.directory_fingerprint(three)
    (two / "x").write_text("2")
    assert files.directory_fingerprint(one) != files.directory_fingerprint(two)
