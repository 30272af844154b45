from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow_model_analysis.proto import metrics_for_slice_pb2

from tfx_pipeline.evaluation.measured import Measured
from tfx_pipeline.evaluation.report import read_measured
from tfx_pipeline.evaluation.report import read_metrics
from tfx_pipeline.report.gather import wilson
from tfx_pipeline.report.rendering import interval_text


def add(
    record: metrics_for_slice_pb2.MetricsForSlice,
    name: str,
    value: float,
    model: str = "",
    interval: tuple[float, float] | None = None,
    is_diff: bool = False,
) -> None:
    metric = record.metric_keys_and_values.add()
    metric.key.name, metric.key.model_name, metric.key.is_diff = name, model, is_diff
    metric.value.double_value.value = value
    if interval:
        metric.confidence_interval.lower_bound.double_value.value = interval[0]
        metric.confidence_interval.upper_bound.double_value.value = interval[1]


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    everybody = metrics_for_slice_pb2.MetricsForSlice()
    add(everybody, "hr@10", 0.5, "candidate", (0.4, 0.6))
    add(everybody, "hr@10", 0.3, "baseline")
    add(everybody, "hr@10", 0.2, "candidate", (0.1, 0.3), is_diff=True)
    add(everybody, "auc", float("nan"), "candidate")
    few = metrics_for_slice_pb2.MetricsForSlice()
    key = few.slice_key.single_slice_keys.add()
    key.column, key.bytes_value = "slice/activity", b"1-9"
    add(few, "hr@10", 0.25, "candidate", (float("nan"), float("nan")))
    with tf.io.TFRecordWriter(str(tmp_path / "metrics-00000-of-00001.tfrecord")) as file:
        for record in (everybody, few):
            file.write(record.SerializeToString())
    return tmp_path


def test_model_baseline_and_change_are_told_apart_with_their_intervals(evaluation: Path):
    found = read_measured(evaluation)
    assert found == {
        "model": {
            "": {"hr@10": Measured(0.5, 0.4, 0.6)},
            "slice/activity=1-9": {"hr@10": Measured(0.25)},
        },
        "baseline": {"": {"hr@10": Measured(0.3)}},
        "change": {"": {"hr@10": Measured(0.2, 0.1, 0.3)}},
    }
    assert read_metrics(evaluation) == {"": {"hr@10": 0.5}, "slice/activity=1-9": {"hr@10": 0.25}}


def test_slices_come_in_the_order_of_their_numbers(tmp_path: Path):
    with tf.io.TFRecordWriter(str(tmp_path / "metrics-00000-of-00001.tfrecord")) as file:
        for value in (b"0", b"10-49", b"", b"200+", b"1-9", b"50-199"):
            record = metrics_for_slice_pb2.MetricsForSlice()
            if value:
                key = record.slice_key.single_slice_keys.add()
                key.column, key.bytes_value = "slice/activity", value
            add(record, "hr@10", 0.5, "candidate")
            file.write(record.SerializeToString())
    names = ["", *(f"slice/activity={value}" for value in ("0", "1-9", "10-49", "50-199", "200+"))]
    assert list(read_metrics(tmp_path)) == names


def test_wilsons_interval_is_the_published_one_and_stays_a_share():
    # Wilson 1927 by hand: 10 of 20.
    assert wilson(0.5, 20) == pytest.approx((0.299298, 0.700702), abs=1e-6)
    low, high = wilson(0.0, 5)
    assert low == 0.0 and 0 < high < 0.5
    assert wilson(1.0, 5)[1] == 1.0


def test_an_end_that_is_next_to_nothing_has_no_sign():
    assert interval_text(Measured(0.0, -1e-18, 0.00004)) == "0.0000 to 0.0000"
    assert interval_text(Measured(0.0, -0.00006, 1.0)) == "-0.0001 to 1.0000"
