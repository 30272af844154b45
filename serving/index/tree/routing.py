"""Routing of an update's changes to parts of the index and rows there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PartChange:
    """Changes of one part.

    Attributes:
        numbers: Which of the update's upserts go to it.
        upserted: The row of the part that each of them replaces, None where it is new.
        deleted: Rows of the part that go, the last one first; none is replaced.
        source: [P'] int64, where its rows come from then: below N a row of the whole
            index before, from N on an upsert.
    """

    numbers: list[int]
    upserted: list[int | None]
    deleted: list[int]
    source: np.ndarray


def route(
    sizes: Sequence[int], upserted: Sequence[int | None], deleted: Sequence[int]
) -> list[PartChange]:
    """Deals the changes of an index out to its parts.

    A candidate stays in its part; a new one goes to the part that is smallest then.

    Args:
        sizes: Candidates of each part, in the order of the rows; N in all.
        upserted: [U], the row that each upsert replaces, None where it is new.
        deleted: Rows that go; none is replaced.
    """
    first = np.cumsum([0, *sizes])  # and N behind
    left = np.array(sizes)
    numbers: list[list[int]] = [[] for _ in sizes]
    own: list[list[int | None]] = [[] for _ in sizes]
    gone: list[list[int]] = [[] for _ in sizes]
    for taken in sorted(deleted, reverse=True):
        part = int(np.searchsorted(first, taken, side="right")) - 1
        gone[part].append(taken - int(first[part]))
        left[part] -= 1
    for number, row in enumerate(upserted):
        if row is None:
            part = int(left.argmin())
            left[part] += 1
        else:
            part = int(np.searchsorted(first, row, side="right")) - 1
        numbers[part].append(number)
        own[part].append(None if row is None else row - int(first[part]))
    changes = []
    for part, size in enumerate(sizes):
        local = sources(size, own[part], gone[part])
        put = np.array(numbers[part], np.int64)
        origin = np.concatenate([first[part] + np.arange(size), first[-1] + put])
        changes.append(PartChange(numbers[part], own[part], gone[part], origin[local]))
    return changes


def sources(size: int, upserted: Sequence[int | None], deleted: Sequence[int]) -> np.ndarray:
    """Says where the rows of an updated part come from, as ScaNN arranges them.

    Args:
        size: P, rows before.
        upserted: [U], the row that each upsert replaces, None where it is new.
        deleted: Rows that go, the last one first; none is replaced.

    Returns:
        [P'] int64, below P a row of before, from P on an upsert.
    """
    source = list(range(size))
    for number, row in enumerate(upserted):
        if row is None:
            source.append(size + number)
        else:
            source[row] = size + number
    for row in deleted:
        source[row] = source[-1]
        source.pop()
    return np.array(source, np.int64)
