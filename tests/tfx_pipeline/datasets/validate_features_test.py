"""Tables of declared fields, checked with and without a configuration."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import write_log
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.datasets.validate import inspect_event_log
from tfx_pipeline.datasets.validate_features import guess_fields

NOON = 1_700_000_000_000_000


def test_tables_are_told_of_without_a_configuration(tmp_path: Path) -> None:
    entities = [{"entity_type": "item", "entity_id": str(i)} for i in range(3)]
    log = write_log(tmp_path / "log", [event("u", str(i), NOON + i) for i in range(3)], entities)
    named = {"entity_type": ["item"] * 3, "entity_id": ["1", "2", "nobody"]}
    for name, column, values in (
        ("style", "vector", [[1.0, 2.0], [1.0], None]),
        ("cluster", "tokens", [["a"], ["b"], ["c"]]),
        ("Ranks", "rank", [1, 2, 3]),
    ):
        (log / "features" / name).mkdir(parents=True)
        pq.write_table(pa.table(named | {column: values}), log / "features" / name / "a.parquet")
    found = inspect_event_log(log)
    kinds = {(problem.kind, problem.table): problem.count for problem in found.problems}
    assert kinds["declared-length", "features.style"] == 1
    assert kinds["features-unknown", "features.cluster"] == 1
    assert kinds["undeclared-table", "features.Ranks"] == 1
    assert "features   of the catalogue's entities, style 1, cluster 2" in found.text()
    assert not guess_fields(tmp_path).names


def test_files_beside_the_folders_are_no_field(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [event("u", "1", NOON)])
    (log / "features").mkdir()
    pq.write_table(pa.table({"vector": [[1.0]]}), log / "features" / "style.parquet")
    (found,) = [p for p in inspect_event_log(log).problems if p.table == "features"]
    assert found.kind == "unread-file" and "Move them" in found.message
    assert found.samples == ({"file": "features/style.parquet"},)


def test_damaged_files_and_no_rows_refuse_the_log(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [event("u", "1", NOON)])
    for name in ("style", "look"):
        (log / "features" / name).mkdir(parents=True)
    (log / "features" / "style" / "a.parquet").write_bytes(b"entity_id,vector")
    empty = {"entity_type": pa.array([], pa.string()), "entity_id": pa.array([], pa.string())}
    rows = pa.table(empty | {"vector": pa.array([], pa.list_(pa.float32()))})
    pq.write_table(rows, log / "features" / "look" / "a.parquet")
    config = TimelineConfig(catalogue_fields={"vectors": {"style": 2, "look": 2}})
    found = inspect_event_log(log, config)
    assert "features.style: The file is not Parquet" in found.refusal
    assert "features.look: The table has no rows" in found.refusal
