"""The split `catalogue`: one example a row, nulls left out, bad rows kept aside."""

from __future__ import annotations

import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from tests.tfx_pipeline.components.timeline_example_gen.logs import dead_letters
from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import picture
from tests.tfx_pipeline.components.timeline_example_gen.logs import read_records
from tests.tfx_pipeline.components.timeline_example_gen.logs import read_splits
from tests.tfx_pipeline.components.timeline_example_gen.logs import run
from tests.tfx_pipeline.components.timeline_example_gen.logs import write_log

T = 1_700_000_000_000_000
PICTURE = picture()
EVENTS = [event("u", str(i), T + i) for i in range(4)]


def test_every_column_becomes_its_feature_and_null_leaves_it_out(tmp_path: Path) -> None:
    moment = datetime.datetime(1994, 1, 1, tzinfo=datetime.timezone.utc)
    catalogue = pa.table(
        {
            "entity_type": ["item", "video"],
            "entity_id": ["1", "1"],
            "title": ["Red shoe", None],
            "categories": [["shoes", "red"], None],
            "attributes": pa.array(
                [[("brand", "acme"), ("size", "9")], []], pa.map_(pa.string(), pa.string())
            ),
            "price": [9.5, None],
            "available_from": pa.array([moment, None], pa.timestamp("s", "UTC")),
            "related_ids": [[], ["item:1", None, "item:2"]],
            "image": [PICTURE, None],
            "image_vector": pa.array([[1.0, -2.0], None], pa.list_(pa.float64())),
            "text_vector": pa.array([[0.5, 0.5], [1.0, 0.0]], pa.list_(pa.float32(), 2)),
        }
    )
    log = write_log(tmp_path / "log", EVENTS, catalogue)
    run(log, tmp_path / "out")
    item, video = read_splits(tmp_path / "out")["catalogue"]
    assert item == {
        "catalogue/entity": ["item:1"],
        "catalogue/type": ["item"],
        "catalogue/title": ["Red shoe"],
        "catalogue/categories": ["shoes", "red"],
        "catalogue/attributes": ["brand=acme", "size=9"],
        "catalogue/price": [9.5],
        "catalogue/available_from": [int(moment.timestamp()) * 1_000_000],
        "catalogue/related": [],
        "catalogue/image_vector": [1.0, -2.0],
        "catalogue/text_vector": [0.5, 0.5],
    }
    assert video == {
        "catalogue/entity": ["video:1"],
        "catalogue/type": ["video"],
        "catalogue/categories": [],
        "catalogue/attributes": [],
        "catalogue/related": ["item:1", "item:2"],
        "catalogue/image_vector": [],
        "catalogue/text_vector": [1.0, 0.0],
    }

    run(log, tmp_path / "with_images", include_images=True)
    (path,) = (tmp_path / "with_images").glob("Split-catalogue/*")
    images = [PICTURE in record for record in read_records(path)]
    assert images == [True, False] and b"catalogue/image\x12" not in read_records(path)[1]


def test_bad_rows_of_the_catalogue_are_dead_letters(tmp_path: Path) -> None:
    rows = [
        {"entity_type": "item", "entity_id": "0", "price": 1.0, "available_from": "2020-01-01"},
        {"entity_type": "item", "entity_id": "0", "price": 2.0},
        {"entity_type": "item", "entity_id": "", "price": 2.0},
        {"entity_type": None, "entity_id": "1", "price": 2.0},
        {"entity_type": "item", "entity_id": "2", "price": -2.0},
        {"entity_type": "item", "entity_id": "3", "price": float("nan")},
        {"entity_type": "item", "entity_id": "4", "available_from": "soon"},
        {"entity_type": "item", "entity_id": "5", "image_vector": [1.0, float("inf")]},
    ]
    log = write_log(tmp_path / "log", EVENTS, rows)
    report = run(log, tmp_path / "out", max_dead_letter_fraction=0.9)
    assert report["dead_letters"] == {
        "catalogue": {
            "available_from is unparsable": 1,
            "entity has a row already": 1,
            "entity_id is missing": 1,
            "entity_type is missing": 1,
            "image_vector is not finite": 1,
            "price is negative or not finite": 2,
        }
    }
    (row,) = read_splits(tmp_path / "out")["catalogue"]
    assert row["catalogue/price"] == [1.0]
    assert row["catalogue/available_from"] == [1_577_836_800_000_000]
    assert {letter["row"] for letter in dead_letters(tmp_path / "out")} == set(range(1, 8))


def test_the_first_row_of_an_entity_wins_across_files(tmp_path: Path) -> None:
    rows = [{"entity_type": "item", "entity_id": str(i % 50), "price": float(i)} for i in range(60)]
    log = write_log(tmp_path / "log", EVENTS, rows, row_group_size=7)
    report = run(log, tmp_path / "out", max_dead_letter_fraction=0.2)
    examples = read_splits(tmp_path / "out")["catalogue"]
    assert len(examples) == report["catalogue"]["examples"] == 50
    assert {e["catalogue/price"][0] for e in examples} == {float(i) for i in range(50)}


def test_a_catalogue_of_bad_rows_alone_stops_the_run(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", EVENTS, [{"entity_type": "item", "entity_id": ""}] * 3)
    with pytest.raises(
        ValueError, match="3 of 3 rows of `catalogue` are bad.*entity_id is missing"
    ):
        run(log, tmp_path / "out")
