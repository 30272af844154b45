"""Counts page ids that several users have; to each of them it is a page of its own."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator

import numpy as np

from tfx_pipeline.components.timeline_example_gen import report
from tfx_pipeline.components.timeline_example_gen.hashing import hash_ids
from tfx_pipeline.components.timeline_example_gen.pages import Pages
from tfx_pipeline.components.timeline_example_gen.timeline import Timelines
from transforms.arrow import pa


def divide(timelines: Timelines, pages: Pages, parts: int) -> Iterator[tuple[int, bytes]]:
    """Divides the page ids of a bucket's users by their hashes, which are all that is kept.

    Yields:
        Number of a part below `parts`, and hashes, one for each user and id.
    """
    code = timelines.codes["page"][pages.row]
    _, first = np.unique(pages.user << 32 | code, return_index=True)
    distinct, inverse = np.unique(code[first], return_inverse=True)
    hashes = hash_ids(timelines.dictionaries["page"].take(pa.array(distinct)))[inverse]
    part = (hashes % np.uint64(parts)).astype(np.int64)
    order = np.argsort(part, kind="stable")
    edges = np.searchsorted(part[order], np.arange(parts + 1))
    for number in np.flatnonzero(np.diff(edges)).tolist():
        yield number, hashes[order[edges[number] : edges[number + 1]]].tobytes()


def count_shared(element: tuple[int, Iterable[bytes]]) -> bytes:
    """Counts the ids of a part that several users have, for the report."""
    hashes = np.frombuffer(b"".join(element[1]), np.uint64)
    _, users = np.unique(hashes, return_counts=True)
    return report.pack({"pages/ids_of_several_users": int((users > 1).sum())})
