from __future__ import annotations

import numpy as np
import pytest

from serving.local_server.merging import GrowingBatch
from serving.local_server.merging import can_merge
from serving.local_server.merging import merge
from serving.local_server.merging import split


def request(*rows, dtype=np.int64):
    return {"x": np.array(rows, dtype), "n": np.array([len(row) for row in rows])}


def test_rows_are_padded_with_the_first_value():
    merged = merge([request([7, 8, 9]), request([1], [2])])
    assert merged["x"].tolist() == [[7, 8, 9], [1, 1, 1], [2, 1, 1]]
    assert merged["n"].tolist() == [3, 1, 1]


def test_strings_are_padded_too():
    merged = merge([request([b"a"], dtype=object), request([b"b", b"c"], dtype=object)])
    assert merged["x"].tolist() == [[b"a", b"a"], [b"b", b"c"]]


def test_a_batch_of_one_is_not_touched():
    only = request([1])
    assert merge([only]) is only


def test_split_undoes_merge():
    outputs = {"y": np.arange(6).reshape(3, 2)}
    first, second = split(outputs, [1, 2])
    assert first["y"].tolist() == [[0, 1]]
    assert second["y"].tolist() == [[2, 3], [4, 5]]


@pytest.mark.parametrize("output", [np.zeros(4), np.float32(1)])
def test_outputs_without_a_row_for_each_row_cannot_be_split(output):
    with pytest.raises(ValueError, match="`y`.*3 rows"):
        split({"y": np.asarray(output)}, [1, 2])


def test_nothing_to_pad_with():
    assert not can_merge({"x": np.zeros((1, 0)), "n": np.zeros(1)})
    assert can_merge(request([1]))


def takes(*lengths: int) -> list[bool]:
    batch = GrowingBatch()
    return [batch.take({"x": np.zeros((1, length))}, 1) for length in lengths]


def test_one_very_long_history_is_not_merged_with_short_ones():
    assert takes(50, 60, 50) == [True, True, True]
    assert takes(200_000, 200_000) == [True, True]
    assert takes(50, 50, 200_000, 60) == [True, True, False, True]
    assert takes(200_000, 50, 50) == [True, True, False]  # 600,000 for 200,100 cells
