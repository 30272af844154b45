"""Parts of a report by themselves: data, samples, comparisons."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tensorflow_metadata.proto.v0 import statistics_pb2

from tests.helpers.recorded_runs import Step
from tests.helpers.recorded_runs import record_run
from tfx_pipeline.report.calibration import reliability
from tfx_pipeline.report.compare import differing
from tfx_pipeline.report.compare import name_runs
from tfx_pipeline.report.data import gather_data
from tfx_pipeline.report.gather import Missing
from tfx_pipeline.report.samples import Item
from tfx_pipeline.report.samples import Sample
from tfx_pipeline.report.samples import thumbnails
from tfx_pipeline.report.samples import with_catalogue
from tfx_pipeline.runners.recorded import read_run


def test_statistics_say_how_long_timelines_are_and_what_features_hold(tmp_path: Path):
    record_run(tmp_path, [Step("statistics-gen", outputs={"statistics": {}})])
    run = read_run(str(tmp_path))
    found = statistics_pb2.DatasetFeatureStatisticsList()
    split = found.datasets.add(num_examples=10)
    feature = split.features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
    feature.path.step.append("event/entity")
    strings = feature.string_stats
    strings.unique = 3
    strings.top_values.add(value="item:1", frequency=7)
    common = strings.common_stats
    common.num_non_missing, common.avg_num_values, common.max_num_values = 5, 4.0, 9
    for low, high, count in ((1, 2, 1), (2, 9, 3)):
        common.num_values_histogram.buckets.add(low_value=low, high_value=high, sample_count=count)
    file = run.run_dir / "artifacts/statistics-gen/statistics/1/Split-train/FeatureStats.pb"
    file.parent.mkdir()
    file.write_bytes(found.SerializeToString())
    data = gather_data(run)
    assert not isinstance(data.statistics, Missing)
    (train,) = data.statistics
    assert (train.name, train.examples) == ("train", 10)
    assert train.lengths == ((0.0, 1), (0.25, 2), (1.0, 9))
    (row,) = train.features
    assert (row.present, row.mean_values, row.most_values) == (0.5, 4.0, 9)
    assert row.content == "3 different: item:1 (7)"


def test_anomalies_that_stopped_a_run_are_shown(tmp_path: Path):
    record_run(tmp_path, [Step("example-validator", "FAILED")])
    anomalies = anomalies_pb2.Anomalies()
    anomalies.anomaly_info["price"].short_description = "Unexpected data type"
    file = tmp_path / "artifacts/example-validator/anomalies/1/Split-train/SchemaDiff.pb"
    file.parent.mkdir(parents=True)
    file.write_bytes(anomalies.SerializeToString())
    data = gather_data(read_run(str(tmp_path)))
    assert not isinstance(data.anomalies, Missing)
    assert [(one.split, one.feature, one.short) for one in data.anomalies] == [
        ("train", "price", "Unexpected data type")
    ]


def test_reliability_compares_means_of_tenths():
    scores = np.linspace(0.0, 1.0, 100)[::-1]
    rows = reliability(scores, (scores > 0.5).astype(int))
    assert [row["candidates"] for row in rows] == [10.0] * 10
    assert rows[0]["predicted"] == pytest.approx(np.linspace(0.0, 1.0, 100)[:10].mean())
    assert [row["observed"] for row in rows] == [0.0] * 5 + [1.0] * 5


def test_images_become_small_and_what_is_none_is_left_out():
    sink = io.BytesIO()
    Image.new("RGBA", (300, 200), "red").save(sink, "PNG")
    small = thumbnails({"item:1": sink.getvalue(), "item:2": b"no image"})
    assert list(small) == ["item:1"]
    head, _, data = small["item:1"].partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.size == (72, 48)


@pytest.mark.parametrize("shown", [("1",), ("1", "2"), ()], ids=["all", "some", "nothing"])
def test_images_are_shown_whoever_has_the_titles(tmp_path: Path, shown: tuple[str, ...]):
    """The index has the title of item 1 alone; the log has both titles and images."""
    sink = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(sink, "PNG")
    log, index = tmp_path / "log", tmp_path / "servable/index"
    for folder in (log / "catalogue", index):
        folder.mkdir(parents=True)
    catalogue = {"entity_type": ["item"] * 2, "entity_id": ["1", "2"], "title": ["log 1", "log 2"]}
    catalogue["image"] = [sink.getvalue()] * 2
    pq.write_table(pa.table(catalogue), log / "catalogue/0.parquet")
    indexed = {"id": ["item:1", "item:2"], "title": ["index 1", ""]}
    pq.write_table(pa.table(indexed), index / "candidates.parquet")
    record_run(tmp_path, [Step("timeline-example-gen", properties={"log_dir": str(log)})])
    items = tuple(Item(f"item:{n}", f"item:{n}", "") for n in shown)
    samples = [Sample("u", 0, (), items, 0)]
    (done,), remark = with_catalogue(read_run(str(tmp_path)), samples, tmp_path / "servable")
    titles = {"1": "index 1", "2": "log 2"}
    assert [item.title for item in done.shown] == [titles[n] for n in shown]
    assert all(item.image.startswith("data:image/jpeg") for item in done.shown)
    assert remark == ("" if shown else f"There are no images of them in the event log {log}.")


def test_a_table_of_differences_leaves_out_what_is_the_same_and_sections_that_some_lack():
    table = differing(
        {
            "a": {"retrieval.seed": 1, "retrieval.k": 5, "ranking.seed": 1},
            "b": {"retrieval.seed": 2, "retrieval.k": 5, "retrieval.more": 0},
        }
    )
    assert table == {
        "retrieval.seed": {"a": "1", "b": "2"},
        "retrieval.more": {"a": "none", "b": "0"},
    }


def test_runs_of_directories_with_one_name_keep_apart(tmp_path: Path):
    places = [tmp_path / parent / "shop" for parent in ("a", "b")]
    for place in places:
        place.mkdir(parents=True)
        record_run(place, [Step("trainer")])
    runs = [read_run(str(place)) for place in places]
    assert list(name_runs([*runs, runs[0]])) == ["shop run 1", f"{places[1]} run 1"]
