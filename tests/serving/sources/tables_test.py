from __future__ import annotations

from pathlib import Path

import numpy as np

from serving.index import files
from serving.sources.neighbours import Neighbours
from serving.sources.tables import SourceTables
from serving.sources.tables import align
from tests.helpers.servables import seal_without_scann
from tests.helpers.servables import write_vectors
from tests.helpers.sources import write_neighbours

LISTS = {
    "item:a": {"item:b": 0.5, "gone:1": 0.375, "item:c": 0.25},
    "item:b": {"gone:1": 1.0},
    "video:1": {"item:c": 0.75},
    "video:2": {"gone:1": 0.5},
}


def aligned(folder: Path, ids: list[str], most: int = 10) -> SourceTables:
    write_neighbours(folder / "neighbours", LISTS, {"item:a": 4, "item:c": 7, "video:1": 9})
    write_vectors(folder / "index", ids, np.eye(len(ids)), {ids[0]: 5})
    index = seal_without_scann(folder / "index")
    return align(Neighbours.read(folder / "neighbours"), index, most)


def listed(tables: SourceTables, names: list[str], entity: str) -> dict[str, float]:
    row = [*names, *tables.others].index(entity)
    pairs = zip(tables.neighbours[row], tables.weights[row], strict=True)
    return {names[at]: float(weight) for at, weight in pairs if weight > 0}


def test_lists_name_rows_of_the_index(tmp_path):
    names = ["item:c", "item:a", "item:b", "item:new"]
    found = aligned(tmp_path, names)
    assert found.others == ["video:1"]  # the other video has no neighbour that is left
    assert listed(found, names, "item:a") == {"item:b": 0.5, "item:c": 0.25}
    assert listed(found, names, "item:b") == listed(found, names, "item:new") == {}
    assert listed(found, names, "video:1") == {"item:c": 0.75}
    assert found.events.tolist() == [7, 4, 0, 0]
    assert found.available_from.tolist() == [5] + [files.ALWAYS] * 3


def test_other_rows_give_the_same_lists(tmp_path):
    names = ["item:b", "item:c", "item:a"]
    found = aligned(tmp_path, names)
    assert listed(found, names, "item:a") == {"item:b": 0.5, "item:c": 0.25}
    assert found.events.tolist() == [0, 7, 4]


def test_the_best_of_those_that_are_left_are_kept(tmp_path):
    names = ["item:c", "item:a"]
    found = aligned(tmp_path, names, most=1)
    assert found.neighbours.shape == (3, 1)
    assert listed(found, names, "item:a") == {"item:c": 0.25}
