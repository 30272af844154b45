from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from serving.index import files
from serving.index.tree.routing import sources
from serving.index.updating.changes import DELETES_SCHEMA
from serving.index.updating.changes import UPSERTS_SCHEMA
from serving.index.updating.changes import Changes
from serving.index.updating.changes import sift
from tests.helpers.servables import seal_without_scann
from tests.helpers.servables import write_vectors


def changes_of(upserts=(), deletes=()):
    """Changes from (id, vector) pairs and ids, as if read from `in.parquet`."""
    rows = [
        {
            "id": name,
            "entity_type": name.partition(":")[0],
            "vector": vector,
            "file": "in.parquet",
            "row": row,
        }
        for row, (name, vector) in enumerate(upserts)
    ]
    gone = [{"id": name, "file": "out.txt", "row": row} for row, name in enumerate(deletes)]
    return Changes(
        pa.Table.from_pylist(rows, UPSERTS_SCHEMA), pa.Table.from_pylist(gone, DELETES_SCHEMA)
    )


@pytest.fixture
def index(tmp_path):
    write_vectors(tmp_path, ["a:1", "a:2", "b:1"], np.eye(3))
    return seal_without_scann(tmp_path)


def test_each_bad_row_has_its_reason(index):
    upserts = [
        ("a:9", [1.0, 0.0, 0.0]),
        ("a:9", [0.0, 1.0, 0.0]),
        ("a:3", [1.0, 2.0]),
        ("a:4", [1.0, float("nan"), 0.0]),
        ("a:5", None),
        ("a:1", [0.0, 0.0, float("inf")]),
        ("b:1", [0.0, 0.0, 1.0]),
        ("a:2", [0.0, 0.0, 1.0]),
    ]
    good, bad = sift(changes_of(upserts, ["a:2", "c:1", "a:1", "a:1"]), index, ["a"])
    assert good.upserts["id"].to_pylist() == ["a:9"]
    np.testing.assert_array_equal(good.vectors, [[1, 0, 0]])
    assert good.deletes["id"].to_pylist() == []
    found = [(row["change"], row["row"], row["reason"]) for row in bad.to_pylist()]
    other = "has a vector of another length than the index (3)"
    both = "is to be put in and to be taken out"
    twice = "comes twice; the first one counts"
    assert found == [
        ("upsert", 1, twice),
        ("upsert", 2, other),
        ("upsert", 3, "has a vector that is not finite"),
        ("upsert", 4, other),
        ("upsert", 5, both),
        ("upsert", 6, "is of no candidate type (a)"),
        ("upsert", 7, both),
        ("delete", 0, both),
        ("delete", 1, "is not in the index, whose ids are `type:id`"),
        ("delete", 2, both),
        ("delete", 3, both),
    ]
    assert set(bad["file"].to_pylist()) == {"in.parquet", "out.txt"}


def test_good_changes_pass_whole(index):
    changes = changes_of([("b:7", [1.0, 2.0, 3.0])], ["a:1"])
    good, bad = sift(changes, index)
    assert good == changes and len(bad) == 0


def test_nothing_to_change(index):
    good, bad = sift(changes_of(), index)
    assert len(good.upserts) == len(good.deletes) == len(bad) == 0


def test_written_and_read_again(tmp_path):
    changes = changes_of([("b:7", [1.0, 2.0, 3.0])], ["a:1"])
    changes.write(tmp_path / "changes")
    assert Changes.read(tmp_path / "changes") == changes


@pytest.mark.parametrize(
    ("upserted", "deleted", "wanted"),
    [
        ([], [], [0, 1, 2, 3]),
        ([None, 1, None], [], [0, 5, 2, 3, 4, 6]),
        ([], [3], [0, 1, 2]),
        ([], [2, 0], [3, 1]),  # the last row fills the hole: 3 comes to 2 and then to 0
        ([None], [3, 1], [0, 4, 2]),
        ([None, 0], [3, 2, 1], [5, 4]),
    ],
)
def test_where_rows_come_from(upserted, deleted, wanted):
    assert sources(4, upserted, deleted).tolist() == wanted


def test_rows_of_an_index_keep_their_schema(index):
    assert index.candidates.schema.equals(files.CANDIDATES_SCHEMA)
    assert UPSERTS_SCHEMA.names[:4] == files.CANDIDATES_SCHEMA.names
