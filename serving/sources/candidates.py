"""The union of what several sources propose, in stock TensorFlow operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# Bits of the output `sources`: which of them brought an item.
SOURCES = ("tower", "neighbours", "repeats", "popularity", "freshness")
_NONE = np.iinfo(np.int32).max
# The lowest class among an item's proposals decides; excluding comes first.
_EXCLUDED, _WANTED, _WEIGHED = range(3)


class Union(NamedTuple):
    """Candidates of a batch, each once, in no order.

    Attributes:
        rows: [B, U] int32, -1 in padding.
        weights: [B, U, C] float32, sums of a candidate's weights as a neighbour; 0 for none.
    """

    rows: tf.Tensor
    weights: tf.Tensor


def unite(
    wanted: Sequence[tf.Tensor],
    neighbours: tf.Tensor,
    weights: tf.Tensor,
    excluded: tf.Tensor,
    most_neighbours: int,
) -> Union:
    """Unites proposals: each candidate once, none that is excluded.

    One sort by row brings the proposals of a candidate together; sums and the class of each
    run are then segment operations. So the cost does not depend on the catalogue.

    Args:
        wanted: [B, m_i] int32 rows, of sources all of whose proposals are kept; -1 is none.
        neighbours: [B, V] int32 rows; a candidate may come several times.
        weights: [B, V, C] float32, >= 0; the first of C columns is above 0 but in padding.
        excluded: [B, E] int32 rows; -1 is none.
        most_neighbours: Candidates that are kept for the sum of their first weight alone, the
            best, at least; slots that `wanted` leaves empty (padding, or a candidate that came
            twice) go to further ones.

    Returns:
        A union of U = sum of m_i + `most_neighbours` at most.
    """
    first = tf.concat(wanted, axis=1)
    keys = tf.concat(
        [
            _keys(excluded, excluded >= 0, _EXCLUDED),
            _keys(first, first >= 0, _WANTED),
            _keys(neighbours, weights[:, :, 0] > 0.0, _WEIGHED),
        ],
        axis=1,
    )  # [B, M]
    batch, width = tf.unstack(tf.shape(keys))
    weights = tf.pad(weights, [[0, 0], [width - tf.shape(weights)[1], 0], [0, 0]])  # [B, M, C]
    negative, order = tf.math.top_k(-keys, width)  # sorted by row, then by class
    keys, weights = -negative, tf.gather(weights, order, batch_dims=1)
    rows = keys // 4
    starts = tf.pad(rows[:, 1:] != rows[:, :-1], [[0, 0], [1, 0]], constant_values=True)
    run = tf.cumsum(tf.cast(starts, tf.int32), axis=1) - 1 + width * tf.range(batch)[:, None]
    total = tf.math.unsorted_segment_sum(weights, run, batch * width)  # [B * M, C]
    lowest = tf.math.unsorted_segment_min(keys, run, batch * width)  # `_NONE` where no run is
    kind = tf.where(lowest == _NONE, _EXCLUDED, lowest % 4)
    weighed = tf.where(kind == _WEIGHED, total[:, 0], -np.inf)
    priority = tf.reshape(tf.where(kind == _WANTED, np.inf, weighed), [batch, width])
    most = tf.minimum(width, tf.shape(first)[1] + most_neighbours)
    priority, best = tf.math.top_k(priority, most)  # [B, U]
    real = priority > -np.inf
    best += width * tf.range(batch)[:, None]
    rows, total = tf.gather(lowest // 4, best), tf.gather(total, best)
    return Union(tf.where(real, rows, -1), tf.where(real[:, :, None], total, 0.0))


def _keys(rows: tf.Tensor, real: tf.Tensor, kind: int) -> tf.Tensor:
    return tf.where(real, 4 * rows + kind, _NONE)


def contains(rows: tf.Tensor, among: tf.Tensor) -> tf.Tensor:
    """Says which rows are in another list: [B, U] and [B, m] int32 -> [B, U] bool."""
    return tf.reduce_any(rows[:, :, None] == among[:, None, :], axis=2)


def source_bits(named: Sequence[tf.Tensor]) -> tf.Tensor:
    """Packs one [B, U] bool for each of `SOURCES` into [B, U] int32."""
    return tf.add_n([tf.cast(one, tf.int32) * (1 << bit) for bit, one in enumerate(named)])
