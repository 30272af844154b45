"""Declared fields: joined to their rows of the catalogue, bad rows kept aside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from absl import logging

from tests.tfx_pipeline.components.timeline_example_gen.logs import as_table
from tests.tfx_pipeline.components.timeline_example_gen.logs import dead_letters
from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import not_utf8
from tests.tfx_pipeline.components.timeline_example_gen.logs import read_records
from tests.tfx_pipeline.components.timeline_example_gen.logs import read_splits
from tests.tfx_pipeline.components.timeline_example_gen.logs import run
from tests.tfx_pipeline.components.timeline_example_gen.logs import write_log
from tfx_pipeline.components.timeline_example_gen import plan
from tfx_pipeline.datasets.event_log import EventLog

T = 1_700_000_000_000_000
EVENTS = [event("u", str(i), T + i) for i in range(4)]
STYLE = {"vectors": {"style": 2}}
BOTH = STYLE | {"tokens": ["cluster"]}


def write_field(
    log: Path, name: str, rows: Any, row_group_size: int = 1_000, part: int = 0
) -> Path:
    """Writes a part of the table of a field."""
    folder = log / "features" / name
    folder.mkdir(parents=True, exist_ok=True)
    table = rows if isinstance(rows, pa.Table) else as_table(rows)
    pq.write_table(table, folder / f"part-{part}.parquet", row_group_size=row_group_size)
    return log


def row(entity: str, **values: Any) -> dict[str, Any]:
    entity_type, _, entity_id = entity.rpartition(":")
    return {"entity_type": entity_type or "item", "entity_id": entity_id, **values}


def catalogue(uri: Path) -> dict[str, dict[str, list[Any]]]:
    return {one["catalogue/entity"][0]: one for one in read_splits(uri)["catalogue"]}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    entities = [row(i) for i in ("0", "1", "2", "3", "video:1", "new")]
    return write_log(tmp_path / "log", EVENTS, [one | {"title": "a"} for one in entities])


def test_fields_reach_their_entities_alone_those_of_new_items_too(
    log: Path, tmp_path: Path
) -> None:
    styles = [row("new", vector=[0.5, -1.0]), row("1", vector=[1.0, 2.0]), row("2", vector=None)]
    write_field(log, "style", [one | {"owner": "another team"} for one in styles])
    write_field(log, "cluster", [row("video:1", tokens=["c7", None, "c9"]), row("3", tokens=[])])
    report = run(log, tmp_path / "out", catalogue_fields=BOTH)
    found = catalogue(tmp_path / "out")
    assert found["item:1"]["catalogue/vector/style"] == [1.0, 2.0]
    assert found["item:new"]["catalogue/vector/style"] == [0.5, -1.0]
    assert found["video:1"]["catalogue/token/cluster"] == ["c7", "c9"]
    for name in ("item:2", "item:3"):
        assert not found[name].keys() & {"catalogue/vector/style", "catalogue/token/cluster"}
    assert "catalogue/vector/style" not in found["video:1"]  # another type with the same id
    assert all(one["catalogue/title"] == ["a"] for one in found.values())
    assert report["fields"]["style"] == {"rows": 3, "in_catalogue": 3}


def test_fields_that_a_run_made_are_read_in_place_of_the_logs(log: Path, tmp_path: Path) -> None:
    write_field(log, "style", [row("1", vector=[1.0, 2.0]), row("2", vector=[3.0, 4.0])])
    write_field(log, "cluster", [row("1", tokens=["c7"])])
    write_field(tmp_path / "made", "style", [row("1", vector=[5.0, 6.0])])
    report = run(log, tmp_path / "out", made=tmp_path / "made", catalogue_fields=BOTH)
    found = catalogue(tmp_path / "out")
    assert found["item:1"]["catalogue/vector/style"] == [5.0, 6.0]
    assert "catalogue/vector/style" not in found["item:2"]
    assert found["item:1"]["catalogue/token/cluster"] == ["c7"]
    assert report["fields"]["style"] == {"rows": 1, "in_catalogue": 1}


def test_the_join_is_the_same_however_tables_are_divided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many parts of both tables, in different orders, against the join in Python."""
    monkeypatch.setattr(plan, "ROWS_A_FEATURES_PART", 10)
    monkeypatch.setitem(plan.ROWS_A_PART, "catalogue", 10)
    generator = np.random.default_rng(0)
    log = write_log(tmp_path / "log", EVENTS, [row(str(i)) for i in range(200)], row_group_size=7)
    owners = generator.permutation(250)[:180].tolist()  # of 200 entities, and of some unknown
    vectors = generator.normal(size=[180, 2]).astype(np.float32)
    rows = [row(str(i), vector=v.tolist()) for i, v in zip(owners, vectors, strict=True)]
    write_field(log, "style", rows[:100], row_group_size=9)
    write_field(log, "style", rows[100:], row_group_size=13, part=1)
    report = run(log, tmp_path / "out", catalogue_fields=STYLE)
    found = catalogue(tmp_path / "out")
    expected = dict(zip(owners, vectors, strict=True))
    assert len(found) == 200 and len(list((tmp_path / "out/Split-catalogue").iterdir())) > 10
    for i in range(200):
        given = found[f"item:{i}"].get("catalogue/vector/style", [])
        np.testing.assert_array_equal(given, expected.get(i, []))
    known = sum(i < 200 for i in owners)
    assert report["fields"]["style"] == {"rows": 180, "in_catalogue": known}


def test_bad_rows_of_a_field_are_dead_letters(log: Path, tmp_path: Path) -> None:
    styles = [
        row("1", vector=[1.0, 2.0]),
        row("1", vector=[3.0, 4.0]),
        row("2", vector=[1.0]),
        row("2", vector=[1.0, float("nan")]),
        row("2", vector=[]),
        row("3", vector=[1.0, None]),
        row("", vector=[1.0, 2.0]),
        row("3", vector=[5.0, 6.0]),
        row("nobody", vector=[1.0, 2.0]),
    ]
    write_field(log, "style", styles)
    clusters = pa.table(
        {
            "entity_type": ["item", "item"],
            "entity_id": ["1", "2"],
            "tokens": pa.ListArray.from_arrays([0, 1, 2], not_utf8([b"\xff", b"c1"])),
        }
    )
    write_field(log, "cluster", clusters)
    terms = {"max_dead_letter_fraction": 0.9, "unknown_entities": "dead-letter"}
    report = run(log, tmp_path / "out", catalogue_fields=BOTH, **terms)
    assert report["dead_letters"]["features.style"] == {
        "entity has a row already": 1,
        "entity is not in the catalogue": 1,
        "entity_id is missing": 1,
        "vector is not finite": 2,
        "vector is not of the declared length": 2,
    }
    assert report["dead_letters"]["features.cluster"] == {"tokens is not UTF-8": 1}
    letters = [x for x in dead_letters(tmp_path / "out") if x["table"] == "features.style"]
    assert {x["row"] for x in letters} == {1, 2, 3, 4, 5, 6, 8}
    assert {x["file"] for x in letters} == {"features/style/part-0.parquet"}
    (again,) = [x for x in letters if x["reason"] == "entity has a row already"]
    assert (again["entity_id"], again["vector"]) == ("1", "[3.0, 4.0]")
    found = catalogue(tmp_path / "out")
    assert found["item:1"]["catalogue/vector/style"] == [1.0, 2.0]
    assert found["item:3"]["catalogue/vector/style"] == [5.0, 6.0]
    assert "catalogue/vector/style" not in found["item:2"]
    assert found["item:2"]["catalogue/token/cluster"] == ["c1"]


def test_unknown_entities_are_left_aside_unless_they_are_to_be_dead_letters(
    log: Path, tmp_path: Path
) -> None:
    others = [row(f"x{i}", vector=[0.0, 1.0]) for i in range(50)]
    write_field(log, "style", [*others, row("1", vector=[1.0, 2.0])])
    report = run(log, tmp_path / "out", catalogue_fields=STYLE)
    assert report["fields"]["style"] == {"rows": 51, "in_catalogue": 1}
    assert "dead_letters" not in report
    with pytest.raises(ValueError, match="50 of 51 rows of `features.style` are bad"):
        run(log, tmp_path / "other", catalogue_fields=STYLE, unknown_entities="dead-letter")


def test_what_is_declared_has_to_be_there(log: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no features/style/.*parquet, which `timeline.catalogue"):
        run(log, tmp_path / "a", catalogue_fields=STYLE)
    write_field(log, "style", [row("1", vectors=[1.0, 2.0])])
    with pytest.raises(ValueError, match="features.style.vector.*missing.*column `vectors`"):
        run(log, tmp_path / "b", catalogue_fields=STYLE)
    write_field(log, "style", [row("1", vector=[1.0, 2.0]) | {"entity_id": "item:1"}])
    with pytest.raises(ValueError, match="None of 1 rows in features/style is about an entity"):
        run(log, tmp_path / "c", catalogue_fields=STYLE)
    write_field(log, "style", [row("1", vector=["red"])])
    with pytest.raises(ValueError, match="features.style.vector: Found list<.*: string>"):
        run(log, tmp_path / "d", catalogue_fields=STYLE)


def test_what_is_not_declared_changes_nothing_and_is_said(
    log: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(log, tmp_path / "without")
    before = EventLog(log).fingerprint()
    write_field(log, "style", [row("1", vector=[1.0, 2.0])])
    assert EventLog(log).fingerprint() != before
    logging.use_absl_handler()
    with caplog.at_level("WARNING", logger="absl"):
        run(log, tmp_path / "with")
    assert "Nothing reads features/style" in caplog.text
    for path in sorted((tmp_path / "without").glob("Split-*/*")):
        other = tmp_path / "with" / path.relative_to(tmp_path / "without")
        assert read_records(path) == read_records(other)
