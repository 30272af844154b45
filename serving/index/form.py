"""Decides whether exact search or the index answers, and makes that searcher."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from serving.index.exact import ExactIndex
from serving.index.files import TREE_AH
from serving.index.files import IndexFiles
from serving.index.portable import PortableIndex
from serving.index.scann_files import read_partition
from serving.index.searcher import ALWAYS
from serving.index.searcher import Searcher

EXACT = "exact"
PORTABLE = "portable"


@dataclass(frozen=True)
class Form:
    """How a servable searches.

    Attributes:
        name: "exact" or "portable".
        reason: Why, in words.
    """

    name: str
    reason: str


def choose_form(index: IndexFiles, exact_below: int) -> Form:
    """Chooses exact search for small catalogues and for indexes without a tree."""
    size = index.size
    if size < exact_below:
        return Form(EXACT, f"{size:,} candidates are fewer than exact_below ({exact_below:,})")
    if index.info["form"] != TREE_AH:
        return Form(EXACT, f"the index over {size:,} candidates has no tree (tree_from)")
    return Form(PORTABLE, f"{size:,} candidates are not fewer than exact_below ({exact_below:,})")


def make_searcher(index: IndexFiles, form: Form, k: int, chunk_mb: int = 8) -> Searcher:
    """Makes the searcher of the chosen form over the candidates of `index`."""
    vectors = np.asarray(index.vectors)
    available = available_from(index)
    if form.name == EXACT:
        return ExactIndex(vectors, k, available)
    leaves = index.info["search"]["leaves_to_search"]
    return PortableIndex(vectors, read_partition(index.scann_dir), leaves, k, available, chunk_mb)


def available_from(index: IndexFiles) -> np.ndarray | None:
    """Returns [N] int64 microseconds, or None when every candidate is always available."""
    column = index.candidates["available_from"]
    if column.null_count == len(column):
        return None
    filled = pc.fill_null(column, int(ALWAYS))
    return filled.to_numpy()
