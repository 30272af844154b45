"""Items that training never saw: a tenth of a log's, drawn by a hash of the id.

The draw is the same in every run and every benchmark of a log.
"""

from __future__ import annotations

import zlib

import numpy as np

from tfx_pipeline.datasets.division import later_rows
from transforms.arrow import pa

COLD = 10  # one item in so many


def is_cold(item: str) -> bool:
    """Says whether an item's known events are left out."""
    return zlib.crc32(item.encode()) % COLD == 0


def of_cold_items(events: pa.Table) -> np.ndarray:
    """Says which rows of an events table are about cold items, [n] bool."""
    names = events["entity_id"].combine_chunks().dictionary_encode()
    cold = np.array([is_cold(name) for name in names.dictionary.to_pylist()], bool)
    return cold[np.asarray(names.indices)]


def without_known(events: pa.Table, share: float) -> pa.Table:
    """Leaves out the events of cold items before the last share of each user's events.

    Of fewer events the last share is fewer, so that some that were in it are known then: what is
    known of cold items is left out until there is none.

    Args:
        events: Rows of an events table.
        share: Of each user's events that are the test (`leave-share-out`). It has to be one event
            at least of everybody.

    Returns:
        The rows that are left, in their order.
    """
    while True:
        left_out = of_cold_items(events) & ~later_rows(events, share)
        if not left_out.any():
            return events
        events = events.filter(pa.array(~left_out))
