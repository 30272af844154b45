"""Tables of the sources, aligned with the rows of an index by the names of entities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from serving.index import files
from serving.sources.neighbours import Neighbours
from transforms.arrow import pa
from transforms.arrow import pc


class SourceTables(NamedTuple):
    """Tables of what sources know of N candidates, and of C other entities that have neighbours.

    Attributes:
        others: Names of the other entities; their rows are N to N + C - 1.
        neighbours: [N + C, m] int32, rows of candidates, the best first; 0 in padding.
        weights: [N + C, m] float16, 0 in padding.
        events: [N] int64, counted training events.
        available_from: [N] int64, microseconds, `files.ALWAYS` for always; None if all are.
    """

    others: list[str]
    neighbours: np.ndarray
    weights: np.ndarray
    events: np.ndarray
    available_from: np.ndarray | None


def align(neighbours: Neighbours, index: files.IndexFiles, most: int) -> SourceTables:
    """Aligns neighbour lists with an index.

    Args:
        neighbours: Lists, by names of entities.
        index: Whose rows the tables have.
        most: Neighbours of an entity that are kept, the best among the candidates.

    Entities that are not in the index are left out of the lists, and candidates that
    training had not seen have an empty one: an index may be newer than the count.
    """
    names = index.candidates["id"].combine_chunks()
    names = pa.concat_arrays(names.chunks) if isinstance(names, pa.ChunkedArray) else names
    size = len(names)
    found = pc.fill_null(pc.index_in(neighbours.entity, value_set=names), -1)
    row = np.asarray(found).astype(np.int32)  # [E], the candidate that an entity is
    target = row[neighbours.neighbour]  # [V]
    owner = np.repeat(np.arange(neighbours.size), np.diff(neighbours.offsets))  # [V]
    kept = target >= 0
    target, owner, weight = target[kept], owner[kept], neighbours.weight[kept]
    has_list = np.zeros(neighbours.size, bool)
    has_list[owner] = True
    other = np.flatnonzero((row < 0) & has_list)
    row[other] = size + np.arange(len(other), dtype=np.int32)
    counts = np.bincount(owner, minlength=neighbours.size)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    target, owner, weight, rank = (one[rank < most] for one in (target, owner, weight, rank))
    width = min(most, max(1, int(counts.max(initial=0))))
    lists = np.zeros((size + len(other), width), np.int32)
    weights = np.zeros(lists.shape, np.float16)
    lists[row[owner], rank] = target
    weights[row[owner], rank] = weight
    events = np.zeros(size, np.int64)
    known = (row >= 0) & (row < size)
    events[row[known]] = neighbours.events[known]
    return SourceTables(
        neighbours.entity.take(pa.array(other)).to_pylist(),
        lists,
        weights,
        events,
        index.available_from(),
    )
