"""Queries to measure an index with: held-out timelines, or else some of its own vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.index import files
from serving.index.queries import Queries

TIMELINES = "test timelines"
VECTORS = "vectors of the index"


def sample_queries(
    index: files.IndexFiles, limit: int, towers: Any = None, timelines: Sequence[str] = ()
) -> tuple[Queries, str]:
    """Returns queries and what they are.

    Args:
        index: Where vectors are taken from when there are no timelines.
        limit: Queries at most.
        towers: Loaded, with the signature `serving_default` of the query tower.
        timelines: TFRecord files of raw timelines; none is fine.

    Returns:
        The queries, and `TIMELINES` or `VECTORS`.

    Raises:
        ValueError: The files hold no timeline, or an embedding is not finite.
    """
    if timelines and towers is not None:
        from serving.index.embedding.embed import embed_queries

        return embed_queries(towers, timelines, limit), TIMELINES
    rows = np.random.default_rng(0).permutation(index.size)[:limit]
    return Queries(np.asarray(index.vectors[np.sort(rows)])), VECTORS
