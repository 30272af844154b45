"""64-bit hashes of strings and rows, computed on whole Arrow columns.

Checks that need sets of ids keep these hashes: 8 bytes a distinct id, whatever
its length. Polynomial in the bytes modulo 2^64, then the finaliser of
splitmix64 (Steele, Lea and Flood 2014). Not for use against an adversary.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from transforms.arrow import pa
from transforms.arrow import pc

_BASE = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def hash_strings(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Hashes each string; null counts as the empty string.

    Args:
        column: [n] string or binary.

    Returns:
        [n] uint64.
    """
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks != 1:
            return np.concatenate(
                [np.empty(0, np.uint64), *(hash_strings(chunk) for chunk in column.chunks)]
            )
        column = column.chunk(0)
    if column.null_count:
        column = pc.fill_null(column, pa.scalar("").cast(column.type))
    binary = column.cast(pa.binary()) if pa.types.is_string(column.type) else column
    _, offsets_buffer, data_buffer = binary.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32, len(binary) + 1, binary.offset * 4)
    ends = (offsets - offsets[0]).astype(np.int64)
    lengths = np.diff(ends)
    data = np.frombuffer(data_buffer or b"", np.uint8)[offsets[0] : offsets[-1]]
    place = np.arange(len(data)) - np.repeat(ends[:-1], lengths)
    powers = np.cumprod(np.full(max(1, int(lengths.max(initial=0))), _BASE))
    terms = (data.astype(np.uint64) + np.uint64(1)) * powers[place]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    return _mix(sums[ends[1:]] - sums[ends[:-1]] + lengths.astype(np.uint64))


def hash_ids(ids: pa.Array) -> np.ndarray:
    """Returns a 64-bit hash of each id.

    Args:
        ids: [n] binary without nulls; hash distinct ones, it costs 100 ns each.

    Returns:
        [n] uint64 (SipHash with pandas's fixed key).
    """
    if not len(ids):
        return np.zeros(0, np.uint64)
    return pd.util.hash_array(ids.to_numpy(zero_copy_only=False), categorize=False)


def combine(*parts: np.ndarray) -> np.ndarray:
    """Hashes rows of 64-bit numbers given as columns, each [n], into [n] uint64."""
    result = np.zeros(len(parts[0]), np.uint64)
    for part in parts:
        result = _mix(result * _BASE + part.astype(np.int64, copy=False).view(np.uint64))
    return result


def _mix(value: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64, [n] uint64 -> [n] uint64."""
    value = (value ^ (value >> np.uint64(30))) * _FIRST
    value = (value ^ (value >> np.uint64(27))) * _SECOND
    return value ^ (value >> np.uint64(31))
