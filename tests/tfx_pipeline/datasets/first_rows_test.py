"""The first row of each key, in a stream of pieces."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tfx_pipeline.datasets import first_rows


@pytest.mark.parametrize("least", [1, 500_000])
def test_first_rows_of_a_stream(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_rows, "_LEAST", least)  # thinned out on the way, or at the end alone
    kept = first_rows.FirstRows("key")
    schema = pa.schema([("key", pa.string()), ("row", pa.int64())])
    kept.add(schema.empty_table())
    for keys, rows in ((["b", "a", "b"], [0, 1, 2]), (["a", "c"], [3, 4]), (["c", "b"], [5, 6])):
        kept.add(pa.table({"key": keys, "row": rows}, schema))
    assert kept.table().to_pydict() == {"key": ["b", "a", "c"], "row": [0, 1, 4]}
    kept.add(pa.table({"key": ["a", "d"], "row": [7, 8]}, schema))
    assert kept.table().column("row").to_pylist() == [0, 1, 4, 8]
