from __future__ import annotations

import numpy as np
import pytest

from serving.local_server.merging import GrowingBatch
from serving.local_server.merging import can_merge
from serving.local_server.merging import cut
from serving.local_server.merging import join
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


def test_a_long_string_is_no_padding_for_others():
    assert can_merge(request([b"a" * 256, b"b" * 10_000], dtype=object))
    assert not can_merge(request([b"a" * 257], dtype=object))


@pytest.mark.parametrize("largest", [1, 2, 3, 7, 8])
def test_join_undoes_cut(largest):
    whole = request([7, 8], [1, 2], [3, 4], [5, 6], [9, 9], [0, 1], [2, 3])
    parts = cut(whole, 7, largest)
    assert [rows for _, rows in parts] == [largest] * (7 // largest) + [7 % largest] * (
        7 % largest > 0
    )
    joined = join([part for part, _ in parts], [rows for _, rows in parts])
    assert joined["x"].tolist() == whole["x"].tolist()
    assert joined["n"].tolist() == whole["n"].tolist()


def test_outputs_of_parts_that_others_widened_are_joined():
    narrow = {"y": np.ones((2, 1)), "n": np.array([[b"a"], [b"b"]], object)}
    wide = {"y": np.ones((1, 3)), "n": np.array([[b"c", b"d"]], object)}
    joined = join([narrow, wide], [2, 1])
    assert joined["y"].tolist() == [[1, 0, 0], [1, 0, 0], [1, 1, 1]]
    assert joined["n"].tolist() == [[b"a", b""], [b"b", b""], [b"c", b"d"]]


def test_outputs_that_differ_in_their_dimensions_or_rows_cannot_be_joined():
    with pytest.raises(ValueError, match="shape"):
        join([{"y": np.zeros((2, 3))}, {"y": np.zeros((2, 4, 1))}], [2, 2])
    with pytest.raises(ValueError, match="`y`.*2 rows"):
        join([{"y": np.zeros(2)}, {"y": np.zeros(7)}], [2, 2])


def takes(*lengths: int) -> list[bool]:
    batch = GrowingBatch()
    return [batch.take({"x": np.zeros((1, length))}, 1) for length in lengths]


def test_one_very_long_history_is_not_merged_with_short_ones():
    assert takes(50, 60, 50) == [True, True, True]
    assert takes(200_000, 200_000) == [True, True]
    assert takes(50, 50, 200_000, 60) == [True, True, False, True]
    assert takes(200_000, 50, 50) == [True, True, False]  # 600,000 for 200,100 cells
