"""Input of a peer: interactions as an npz file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.interactions import Interactions


def export_interactions(data: Interactions, path: str | Path) -> None:
    """Writes all sequences; a peer divides them itself, as `leave-last-out` does.

    Args:
        data: Sequences of all users.
        path: The npz file: `items` [n] int64 from 1 in the order of
            `data.names`, `starts` [users + 1] int64 and `item_count`.
    """
    with open(path, "wb") as file:  # given a path, NumPy would add a suffix
        np.savez(
            file,
            items=data.items.astype(np.int64) + 1,
            starts=data.starts.astype(np.int64),
            item_count=np.int64(len(data.names)),
        )
