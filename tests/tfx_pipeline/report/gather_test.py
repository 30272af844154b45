from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow_model_analysis.proto import metrics_for_slice_pb2

from tfx_pipeline.evaluation.measured import Measured
from tfx_pipeline.evaluation.report import read_measured
from tfx_pipeline.evaluation.report import read_metrics
from tfx_pipeline.report.gather import wilson


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


def test_wilsons_interval_is_the_published_one_and_stays_a_share():
    # Wilson 1927 by hand: 10 of 20.
    assert wilson(0.5, 20) == pytest.approx((0.299298, 0.700702), abs=1e-6)
    low, high = wilson(0.0, 5)
    assert low == pytest.approx(0.0, abs=1e-12) and 0 < high < 0.5
