"""Hashes of columns: equal for equal text however it is laid out, apart otherwise."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tfx_pipeline.datasets.row_hash import combine
from tfx_pipeline.datasets.row_hash import hash_strings


def test_hash_does_not_depend_on_slices_chunks_or_neighbours() -> None:
    words = ["", "a", "ab", "ba", "é", "item:42", "item:24", "x" * 1_000]
    whole = hash_strings(pa.array(words))
    assert len(set(whole.tolist())) == len(words)
    single = [hash_strings(pa.array([word]))[0] for word in words]
    assert whole.tolist() == single
    array = pa.array(words)
    chunks = pa.chunked_array([array.slice(0, 3), array.slice(3, 0), array.slice(3)])
    assert hash_strings(chunks).tolist() == whole.tolist()
    assert hash_strings(array.cast(pa.binary())).tolist() == whole.tolist()


def test_null_counts_as_empty_and_no_rows_are_no_hashes() -> None:
    assert hash_strings(pa.array([None, ""])).tolist() == [0, 0]
    assert hash_strings(pa.array([], pa.string())).shape == (0,)
    assert hash_strings(pa.chunked_array([], pa.string())).shape == (0,)


def test_a_million_numbers_and_their_pairs_stay_apart() -> None:
    n = 1_000_000
    numbers = hash_strings(pa.array(np.arange(n)).cast(pa.string()))
    assert len(np.unique(numbers)) == n
    pairs = combine(numbers[:1_000].repeat(1_000), np.tile(np.arange(1_000), 1_000))
    assert len(np.unique(pairs)) == n
    assert (
        combine(numbers[:2], numbers[2:4]).tolist() != combine(numbers[2:4], numbers[:2]).tolist()
    )
