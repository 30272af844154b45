"""The component in a real TFX pipeline on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.direct import ONE_WORKER
from tests.helpers.direct import direct
from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import write_log

pytestmark = pytest.mark.slow

T = 1_700_000_000_000_000


def a_log(path: Path, users: int = 20, bad: int = 0) -> Path:
    """Users with four events each, and some without a name."""
    events = [event(f"u{u}", str(i), T + i) for u in range(users) for i in range(4)]
    events += [event("", "1", T + i) for i in range(bad)]
    return write_log(path, events)


def run_pipeline(log: Path, root: Path, code_version: str = "1") -> Any:
    """Runs the component and returns the metadata store."""
    from ml_metadata.metadata_store import metadata_store
    from tfx import v1 as tfx

    from tfx_pipeline.components.timeline_example_gen.component import TimelineExampleGen
    from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
    from tfx_pipeline.datasets.event_log import EventLog

    fingerprint = EventLog(log).fingerprint()
    generator = TimelineExampleGen(str(log), TimelineConfig(), code_version, fingerprint)
    config = tfx.orchestration.metadata.sqlite_metadata_connection_config(str(root / "db"))
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            pipeline_name="test",
            pipeline_root=str(root / "artifacts"),
            components=[generator.with_id("timeline-example-gen")],
            enable_cache=True,
            metadata_connection_config=config,
            beam_pipeline_args=list(ONE_WORKER),
        )
    )
    return metadata_store.MetadataStore(config)


def states(store: Any) -> list[str]:
    """How each run of the component ended, oldest first."""
    from ml_metadata.proto import metadata_store_pb2

    (kind,) = (t for t in store.get_execution_types() if t.name.endswith("TimelineExampleGen"))
    executions = sorted(store.get_executions_by_type(kind.name), key=lambda e: e.id)
    return [metadata_store_pb2.Execution.State.Name(e.last_known_state) for e in executions]


def test_tfx_reads_the_artifact_and_caches_until_log_or_code_change(tmp_path: Path) -> None:
    log = a_log(tmp_path / "log")
    store = run_pipeline(log, tmp_path)
    (examples,) = store.get_artifacts_by_type("Examples")
    assert examples.properties["split_names"].string_value == (
        '["train", "validation", "test", "catalogue"]'
    )
    properties = {k: v.string_value for k, v in examples.custom_properties.items()}
    assert properties["payload_format"] == "FORMAT_TF_EXAMPLE"
    assert properties["file_format"] == "tfrecords_gzip"
    assert properties["input_fingerprint"]
    assert examples.custom_properties["span"].int_value == 0
    found = {path.name for path in Path(examples.uri).iterdir()}
    assert found == {
        "Split-train",
        "Split-validation",
        "Split-test",
        "Split-catalogue",
        "dead_letter",
        "generation_report.json",
    }
    assert count_rows(Path(examples.uri)) == {"train": 20, "validation": 20, "catalogue": 4}

    run_pipeline(log, tmp_path)
    assert states(store) == ["COMPLETE", "CACHED"]
    run_pipeline(log, tmp_path, code_version="2")
    assert states(store) == ["COMPLETE", "CACHED", "COMPLETE"]
    (file,) = (log / "events").iterdir()
    pq.write_table(pq.read_table(file).slice(0, 60), file)
    run_pipeline(log, tmp_path, code_version="2")
    assert states(store)[3:] == ["COMPLETE"]


def _rows(batch: pa.RecordBatch) -> int:
    return batch.num_rows


def count_rows(uri: Path) -> dict[str, int]:
    """How many examples of some splits the reader finds that StatisticsGen and Transform use."""
    from tfx.components.util import tfxio_utils
    from tfx.types import standard_artifacts

    examples = standard_artifacts.Examples()
    examples.uri = str(uri)
    make = tfxio_utils.get_tfxio_factory_from_artifact([examples], ["test"])
    splits = ("train", "validation", "catalogue")
    with direct() as pipeline:
        for split in splits:
            source = make(str(uri / f"Split-{split}" / "*")).BeamSource()
            rows = pipeline | f"Read {split}" >> source | f"Rows {split}" >> beam.Map(_rows)
            path = str(uri.parent / f"count-{split}")
            total = rows | f"Sum {split}" >> beam.CombineGlobally(sum)
            total | f"Keep {split}" >> beam.io.WriteToText(path, shard_name_template="")
    return {split: int((uri.parent / f"count-{split}").read_text()) for split in splits}


def test_dead_letters_outlive_the_artifact_of_a_failed_run(tmp_path: Path) -> None:
    log = a_log(tmp_path / "log", bad=9)
    with pytest.raises(ValueError, match="9 of 89 rows of `events` are bad") as error:
        run_pipeline(log, tmp_path)
    (path,) = (tmp_path / "artifacts").glob("timeline-example-gen/dead_letter/*/*.parquet")
    assert str(path.parent) in str(error.value)
    assert pq.read_table(path).num_rows == 9
    assert not list((tmp_path / "artifacts").glob("timeline-example-gen/examples/*"))
