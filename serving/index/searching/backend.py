"""Decides whether exact search or the index answers, and makes that searcher."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serving.index.files import TREE_AH
from serving.index.files import IndexFiles
from serving.index.searching.exact import ExactIndex
from serving.index.searching.portable import PortableIndex
from serving.index.searching.quantised_vectors import FLOAT32
from serving.index.searching.searcher import Searcher
from serving.index.tree.scann_files import read_partition

EXACT = "exact"
PORTABLE = "portable"
# Candidates that exact search scores on one thread of a Xeon, 64 dimensions, batches of 1 to 8,
# while the index finds its leaves, and while it gathers and scores one candidate in them.
_FIXED_COST, _ROW_COST = 20_000, 6


@dataclass(frozen=True)
class Backend:
    """Search backend of a servable.

    Attributes:
        name: "exact" or "portable".
        reason: Why, in words.
    """

    name: str
    reason: str


def choose_backend(index: IndexFiles, exact_below: int | None = None) -> Backend:
    """Chooses the faster backend: exact search where the tree would spare too little.

    Args:
        index: The index.
        exact_below: Candidates below which exact search is chosen; None compares
            what the backends cost on a CPU.
    """
    size = index.size
    if index.info["index_type"] != TREE_AH:
        return Backend(EXACT, f"the index over {size:,} candidates has no tree (tree_from)")
    if exact_below is not None:
        fewer = size < exact_below
        said = "fewer" if fewer else "not fewer"
        reason = f"{size:,} candidates are {said} than exact_below ({exact_below:,})"
        return Backend(EXACT if fewer else PORTABLE, reason)
    leaves, searched = index.info["build"]["leaves"], index.info["search"]["leaves_to_search"]
    cost = _FIXED_COST + _ROW_COST * size * searched / leaves
    reason = (
        f"searching {searched:,} of {leaves:,} leaves takes as long as scoring {cost:,.0f} "
        f"candidates, and there are {size:,}"
    )
    return Backend(PORTABLE if cost < size else EXACT, reason)


def make_searcher(
    index: IndexFiles, backend: Backend, k: int, chunk_mb: int = 8, vector_type: str = FLOAT32
) -> Searcher:
    """Makes the searcher of the chosen backend over the candidates of `index`."""
    vectors = np.asarray(index.vectors)
    available = index.available_from()
    if backend.name == EXACT:
        return ExactIndex(vectors, k, available)
    leaves = index.info["search"]["leaves_to_search"]
    partition = read_partition(index.scann_dir)
    return PortableIndex(vectors, partition, leaves, k, available, chunk_mb, vector_type)
