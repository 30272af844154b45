"""The division into parts, and merging, without ScaNN."""

from __future__ import annotations

import numpy as np
import pytest

from serving.index.building.train_sample import sample_rows
from serving.index.files import IndexIntegrityError
from serving.index.parts import part_dir
from serving.index.parts import part_dirs
from serving.index.parts import part_rows
from serving.index.tree.merged import MergedSearcher
from serving.index.tree.routing import route
from serving.index.tree.scann_files import same_rows
from serving.index.tree.scann_search import search


class ExactPart:
    """Answers as a ScaNN searcher over some rows does: NaN where it has no more."""

    def __init__(self, vectors: np.ndarray, width: int) -> None:
        self._vectors, self._width = vectors, width

    def size(self) -> int:
        return len(self._vectors)

    def search_batched(self, queries, final_num_neighbors):
        scores = queries @ self._vectors.T
        rows = np.argsort(-scores, axis=1, kind="stable")[
            :, : min(final_num_neighbors, self._width)
        ]
        found = np.take_along_axis(scores, rows, axis=1)
        short = self._width - rows.shape[1]
        rows = np.pad(rows, ((0, 0), (0, short)))
        return rows.astype(np.uint32), np.pad(found, ((0, 0), (0, short)), constant_values=np.nan)


@pytest.mark.parametrize(("size", "parts"), [(10, 3), (7, 7), (8, 4), (1_000_003, 12)])
def test_every_row_is_in_one_part_and_parts_differ_by_a_row_at_most(size, parts):
    slices = [part_rows(size, part, parts) for part in range(parts)]
    assert slices[0].start == 0 and slices[-1].stop == size
    assert [one.stop for one in slices[:-1]] == [other.start for other in slices[1:]]
    sizes = {one.stop - one.start for one in slices}
    assert sizes <= {size // parts, size // parts + 1}


def test_an_index_that_is_not_in_parts_has_none(tmp_path):
    (tmp_path / "scann_assets.pbtxt").write_text("")
    assert part_dirs(tmp_path) == []


def test_parts_are_found_in_order(tmp_path):
    for part in (2, 0, 1):
        part_dir(tmp_path, part, 3).mkdir()
    names = [path.name for path in part_dirs(tmp_path)]
    assert names == ["part-00000-of-00003", "part-00001-of-00003", "part-00002-of-00003"]


@pytest.mark.parametrize("held", [[(0, 3), (2, 3)], [(0, 2), (1, 2), (0, 1)], [(1, 2)]])
def test_parts_that_are_missing_or_of_two_divisions_are_refused(tmp_path, held):
    for part, parts in held:
        part_dir(tmp_path, part, parts).mkdir()
    with pytest.raises(IndexIntegrityError, match="not all parts of one index"):
        part_dirs(tmp_path)


def test_the_merged_answer_has_the_rows_of_the_whole():
    rng = np.random.default_rng(0)
    vectors, queries = rng.normal(size=(23, 4)), rng.normal(size=(9, 4)).astype(np.float32)
    merged = MergedSearcher(
        [ExactPart(vectors[part_rows(23, part, 4)], width=7) for part in range(4)]
    )
    assert merged.size() == 23
    wanted = np.argsort(-(queries @ vectors.T), axis=1)[:, :7]
    np.testing.assert_array_equal(search(merged, queries, 7, None, None), wanted)


def test_where_parts_have_too_few_the_rest_is_missing():
    vectors = np.eye(3)
    merged = MergedSearcher([ExactPart(vectors[:1], width=1), ExactPart(vectors[1:], width=2)])
    rows, scores = merged.search_batched(np.float32([[0.1, 0.2, 0.3]]), 5)
    assert rows.tolist() == [[2, 1, 0, -1, -1]]
    np.testing.assert_allclose(scores, [[0.3, 0.2, 0.1, -np.inf, -np.inf]], rtol=1e-6)


def test_the_sample_is_the_same_every_time_and_no_row_comes_twice():
    rows = sample_rows(1_000_000, 5_000)
    np.testing.assert_array_equal(rows, sample_rows(1_000_000, 5_000))
    assert len(np.unique(rows)) == 5_000 and (np.diff(rows) > 0).all()
    # Uniform: the mean of 5,000 draws has a deviation of 4,082.
    assert abs(rows.mean() - 500_000) < 5 * 4_082
    assert sample_rows(3, 5_000).tolist() == [0, 1, 2]


def test_rows_are_compared_to_the_last_block():
    some = np.zeros((140_000, 1), np.float32)
    other = some.copy()
    assert same_rows(some, other)
    other[-1] = 1
    assert not same_rows(some, other) and not same_rows(some, other[:-1])


def test_changes_are_routed_to_their_parts_by_hand():
    # Rows 0-2 and 3-4; row 1 and row 4 change, row 2 goes, which makes room for the first new one.
    one, two = route([3, 2], [1, None, 4, None], [2])
    assert (one.numbers, one.upserted, one.deleted) == ([0, 1], [1, None], [2])
    assert (two.numbers, two.upserted, two.deleted) == ([2, 3], [1, None], [])
    # The new one of part 0 is its last row, and fills the hole of row 2.
    assert one.source.tolist() == [0, 5, 6] and two.source.tolist() == [3, 7, 8]


def test_new_candidates_even_the_parts_out_and_no_row_is_lost():
    parts = route([10, 4, 7], [None] * 8, [20, 3, 11])
    # 9, 3 and 6 are left of them; of equal ones the first is filled.
    assert [len(part.source) for part in parts] == [9, 9, 8]
    rows = np.sort(np.concatenate([part.source for part in parts]))
    assert rows.tolist() == [row for row in range(29) if row not in (3, 11, 20)]


def test_an_index_in_one_part_has_all_changes_there():
    [part] = route([4], [2, None], [0])
    assert part.source.tolist() == [5, 1, 4, 3]
