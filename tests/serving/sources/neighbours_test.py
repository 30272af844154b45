from __future__ import annotations

import json

import numpy as np
import pytest

from serving.sources import neighbours
from serving.sources.neighbours import Neighbours
from serving.sources.neighbours import NeighboursIntegrityError
from transforms.arrow import pa

NAMES = ["item:a", "item:b", "item:c", "item:d"]


def lists(**changes):
    values = {
        "entity": pa.array(NAMES),
        "offsets": np.array([0, 2, 3, 3, 4]),
        "neighbour": np.array([1, 2, 0, 2], np.int32),
        "weight": np.array([0.5, 0.25, 0.75, 1.0], np.float16),
        "events": np.array([4, 3, 2, 1]),
        "info": {"settings": {"window": 5}, "counts": {"not_in_catalogue": 1}},
    }
    return Neighbours(**values | changes)


def test_what_is_written_is_read(tmp_path):
    lists().write(tmp_path)
    found = Neighbours.read(tmp_path)
    assert found.entity.to_pylist() == NAMES
    assert found.of("item:a") == {"item:b": 0.5, "item:c": 0.25}
    assert found.of("item:c") == {} == found.of("item:unknown")
    np.testing.assert_array_equal(found.events, [4, 3, 2, 1])
    assert found.weight.dtype == np.float16 and found.neighbour.dtype == np.int32
    assert found.info["settings"] == {"window": 5}
    assert found.info["counts"] == {
        "entities": 4,
        "entities_with_neighbours": 3,
        "events": 10,
        "neighbours": 4,
        "not_in_catalogue": 1,
    }
    assert found.rows(pa.array([b"item:d", b"item:x", b"item:a"])).tolist() == [3, -1, 0]


def test_tables_one_after_the_other_are_one(tmp_path):
    first = neighbours.make_table(
        pa.array(NAMES[:2]), np.array([0, 2, 3]), np.array([1, 2, 0]), np.array([0.5, 0.25, 0.75]),
        np.array([4, 3]),
    )  # fmt: skip
    second = neighbours.make_table(
        pa.array(NAMES[2:]), np.array([0, 0, 1]), np.array([2]), np.array([1.0]), np.array([2, 1])
    )
    neighbours.write_tables(tmp_path, [first, second], {})
    found, wanted = Neighbours.read(tmp_path), lists()
    for name in ("offsets", "neighbour", "weight", "events"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert found.entity.equals(wanted.entity)


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no `neighbours.json`"):
        Neighbours.read(tmp_path)


def test_an_altered_table(tmp_path):
    lists().write(tmp_path)
    file = tmp_path / neighbours.TABLE
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(NeighboursIntegrityError, match="altered or cut short"):
        Neighbours.read(tmp_path)


def test_another_format(tmp_path):
    lists().write(tmp_path)
    info = json.loads((tmp_path / neighbours.INFO).read_text()) | {"format_version": 9}
    (tmp_path / neighbours.INFO).write_text(json.dumps(info))
    with pytest.raises(NeighboursIntegrityError, match="format version 9, and this code reads 1"):
        Neighbours.read(tmp_path)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"entity": pa.array(["item:b", "item:a", "item:c", "item:d"])}, "not sorted"),
        ({"neighbour": np.array([1, 4, 0, 2])}, "no rows of its 4"),
        ({"weight": np.array([0.5, 0.0, 0.75, 1.0])}, "not positive"),
        ({"weight": np.array([0.5, np.inf, 0.75, 1.0])}, "not positive"),
        ({"weight": np.array([0.25, 0.5, 0.75, 1.0])}, "does not come first"),
    ],
)
def test_values_that_do_not_fit(tmp_path, changes, message):
    lists(**changes).write(tmp_path)
    with pytest.raises(NeighboursIntegrityError, match=message):
        Neighbours.read(tmp_path)
