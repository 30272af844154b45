"""Small neighbour lists and combinations, made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from serving.sources import features as f
from serving.sources.combination import Combination
from serving.sources.combination import Settings
from serving.sources.neighbours import make_table
from serving.sources.neighbours import write_tables
from transforms.arrow import pa


def write_neighbours(
    path: Path, lists: Mapping[str, Mapping[str, float]], events: Mapping[str, int]
) -> str:
    """Writes neighbour lists by name, best first, and returns the table's SHA-256."""
    names = sorted({*lists, *events, *(name for one in lists.values() for name in one)})
    row = {name: number for number, name in enumerate(names)}
    ranked = [sorted(lists.get(name, {}).items(), key=lambda one: -one[1]) for name in names]
    offsets = np.cumsum([0, *(len(one) for one in ranked)])
    flat = [one for ranking in ranked for one in ranking]
    table = make_table(
        pa.array(names),
        offsets,
        np.array([row[name] for name, _ in flat], np.int32),
        np.array([weight for _, weight in flat], np.float16),
        np.array([events.get(name, 0) for name in names], np.int64),
    )
    return str(write_tables(path, [table], {})["sha256"])


def weights_of(**given: float) -> np.ndarray:
    """Returns [buckets, F] float32 weights, the same for every bucket; 0 where none is given."""
    row = np.array([given.get(name, 0.0) for name in f.FEATURES], np.float32)
    return np.tile(row, (len(f.BUCKETS), 1))


def write_combination(
    path: Path,
    weights: np.ndarray,
    neighbours: str,
    towers: str = "",
    settings: Settings | None = None,
) -> Path:
    """Writes a combination that belongs to lists and towers, and returns its directory."""
    chosen = {"chosen": {"with_history": "joined", "without_history": "joined"}}
    Combination(settings or Settings(), weights, towers, neighbours, chosen).write(path)
    return path
