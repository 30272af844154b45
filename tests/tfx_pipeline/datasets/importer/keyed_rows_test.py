"""Tables of one row a key: the first row counts, wherever the others are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.datasets.importer.blocks import Block
from tfx_pipeline.datasets.importer.catalogue_and_users import CatalogueColumns
from tfx_pipeline.datasets.importer.catalogue_and_users import CatalogueRows
from tfx_pipeline.datasets.importer.catalogue_and_users import UserColumns
from tfx_pipeline.datasets.importer.catalogue_and_users import UserRows
from tfx_pipeline.datasets.importer.catalogue_and_users import with_first_event
from tfx_pipeline.datasets.importer.dead_letters import DeadLetters
from tfx_pipeline.datasets.importer.keyed_rows import attributes
from tfx_pipeline.datasets.limits import find_limits
from tfx_pipeline.datasets.manifest import Manifest

LIMITS = find_limits(Manifest(name="log"), [])


def block(numbers: list[int], **columns: list[object]) -> Block:
    return Block(pa.table(columns), np.array(numbers))


def test_the_first_row_of_a_key_counts_in_blocks_and_files(tmp_path: Path) -> None:
    with DeadLetters(tmp_path) as letters:
        rows = UserRows(UserColumns("id", ("age",)), LIMITS, letters)
        rows.add(block([2, 3, 5], id=["b", "a", "b"], age=[1.0, None, 3.0]), "one.csv")
        rows.add(block([6, 7], id=["c", None], age=[4.0, 5.0]), "one.csv")
        rows.add(block([2, 3], id=["a", "d"], age=[6.5, 7.0]), "two.csv")
        assert rows.rows().to_pydict() == {
            "user_id": [b"b", b"a", b"c", b"d"],
            "attributes": [["age=1"], None, ["age=4"], ["age=7"]],  # whole, though floats
        }
        assert letters.rows["users"] == 7
    found = pq.read_table(tmp_path / "dead_letter").select(["file", "row", "user_id", "reason"])
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("one.csv", 7, None, "user_id is missing"),
        ("one.csv", 5, "b", "user has a row already"),
        ("two.csv", 2, "a", "user has a row already"),
    ]


def test_the_key_of_an_item_is_type_and_id(tmp_path: Path) -> None:
    with DeadLetters(tmp_path) as letters:
        rows = CatalogueRows(CatalogueColumns("id", "kind"), LIMITS, letters)
        with pytest.raises(ValueError, match="The files of the catalogue have no rows"):
            rows.rows()
        rows.add(block([1, 2, 3], id=[7.0, 7.0, 1.5], kind=["item", "video", "item"]), "a")
        assert rows.rows().column("entity_id").to_pylist() == [b"7", b"7"]
        assert letters.counts == {"catalogue": {"entity_id is not a whole number": 1}}


def test_attributes_are_keys_with_values_or_lists_as_they_are() -> None:
    columns = {
        "town": pa.array(["Bonn", None, None]),
        "tags": pa.array([["sport=golf", "age=3"], ["x=1"], None]),
    }
    expected = [["town=Bonn", "sport=golf", "age=3"], ["x=1"], None]
    assert attributes(columns).to_pylist() == expected


def test_items_without_events_are_available_at_all_times() -> None:
    catalogue = pa.table({"entity_type": ["item", "video", "item"], "entity_id": ["a", "a", "b"]})
    items = pa.table(
        {"entity_type": ["item", "item"], "entity_id": ["b", "a"], "timestamp": [5, 9]}
    )
    found = with_first_event(catalogue, items)
    assert found.column("available_from").to_pylist() == [9, None, 5]
