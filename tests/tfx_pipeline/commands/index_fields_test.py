"""Declared fields in the files of `vitrine index update`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tfx_pipeline.components.timeline_example_gen.logs import decode
from tfx_pipeline.commands.index_changes import read_upserts
from transforms.catalogue_fields import CatalogueFields

FIELDS = CatalogueFields(vectors={"style": 2}, tokens=("cluster",))


def write(path: Path, **columns: Any) -> Path:
    size = len(next(iter(columns.values())))
    names = {"entity_type": ["item"] * size, "entity_id": [f"n{i}" for i in range(size)]}
    pq.write_table(pa.table(names | columns), path)
    return path


def test_columns_of_fields_reach_the_tower_and_bad_ones_are_refused(tmp_path: Path) -> None:
    seen: list[bytes] = []

    def embed(examples: list[bytes]) -> np.ndarray:
        seen.extend(examples)
        return np.zeros([len(examples), 3], np.float32)

    styles = [[1.0, 2.0], None, [1.0], [3.0, float("nan")], [5.0, 6.0]]
    clusters = [["c1"], ["c2", None], ["c3"], [], None]
    path = write(tmp_path / "a.parquet", **{"vector/style": styles, "token/cluster": clusters})
    good, bad = read_upserts([path], embed, fields=FIELDS)

    assert good["id"].to_pylist() == ["item:n0", "item:n1", "item:n4"]
    assert dict(zip(bad["id"].to_pylist(), bad["reason"].to_pylist(), strict=True)) == {
        "item:n2": "vector/style is not of the declared length",
        "item:n3": "vector/style is not finite",
    }
    given = [
        {k: v for k, v in row.items() if k.startswith(("catalogue/vector", "catalogue/token"))}
        for row in decode(seen)
    ]
    assert given == [
        {"catalogue/vector/style": [1.0, 2.0], "catalogue/token/cluster": ["c1"]},
        {"catalogue/token/cluster": ["c2"]},
        {"catalogue/vector/style": [5.0, 6.0]},
    ]


def test_columns_that_are_not_declared_or_of_another_type_are_errors(tmp_path: Path) -> None:
    def embed(examples: list[bytes]) -> np.ndarray:
        return np.zeros([len(examples), 3], np.float32)

    path = write(tmp_path / "a.parquet", **{"vector/style": [[1.0, 2.0]]})
    with pytest.raises(ValueError, match="column `vector/style`, which a catalogue has not"):
        read_upserts([path], embed)
    path = write(tmp_path / "b.parquet", **{"vector/style": [["red"]]})
    with pytest.raises(ValueError, match="`vector/style` as list<.*: string>; expected list"):
        read_upserts([path], embed, fields=FIELDS)
