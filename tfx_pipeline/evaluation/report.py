"""Reads what TFMA wrote."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.proto import metrics_for_slice_pb2
from tensorflow_model_analysis.proto import validation_result_pb2

from tfx_pipeline.evaluation.config import NEIGHBOURS
from tfx_pipeline.evaluation.config import OVER_NEIGHBOURS
from tfx_pipeline.evaluation.config import format_slice
from tfx_pipeline.evaluation.config import value_order
from tfx_pipeline.evaluation.eval_config import HITS_SOMETHING
from tfx_pipeline.evaluation.measured import Measured
from tfx_pipeline.evaluation.page_eval_config import BETTER_THAN_CHANCE
from transforms import features

if TYPE_CHECKING:
    from models.families import Stage

MODEL, BASELINE, CHANGE = "model", "baseline", "change"
_CANDIDATE = ("", tfma.CANDIDATE_KEY)  # the model is named when there is a baseline beside it


def read_metrics(evaluation: str | Path) -> dict[str, dict[str, float]]:
    """Reads every metric of the evaluated model.

    Args:
        evaluation: Directory that TFX's Evaluator wrote.

    Returns:
        Slice -> metric -> value, where the slice of all users is "" and the
        others are written `feature=value, feature=value`. A metric without a
        value (a mean over no users) is left out.
    """
    measured = read_measured(evaluation)[MODEL]
    return {
        name: {metric: one.value for metric, one in values.items()}
        for name, values in measured.items()
    }


def read_measured(evaluation: str | Path) -> dict[str, dict[str, dict[str, Measured]]]:
    """Reads every metric with its confidence interval, of the model and of its baseline.

    Args:
        evaluation: Directory that TFX's Evaluator wrote.

    Returns:
        `model`, `baseline` and `change` (the model's less the baseline's), each as
        `read_metrics` gives it, slices in the order of their numbers; the last two are empty
        where there was no baseline.
    """
    found: dict[str, dict[str, dict[str, Measured]]] = {MODEL: {}, BASELINE: {}, CHANGE: {}}
    read = metrics_for_slice_pb2.MetricsForSlice.FromString
    for record in sorted(map(read, _records(evaluation, "metrics")), key=_slice_order):
        keys = _slice_keys(record)
        values: dict[str, dict[str, Measured]] = {MODEL: {}, BASELINE: {}, CHANGE: {}}
        for metric in record.metric_keys_and_values:
            of_model = MODEL if metric.key.model_name in _CANDIDATE else BASELINE
            one = _measured(metric)
            if not math.isnan(one.value):
                values[CHANGE if metric.key.is_diff else of_model][metric.key.name] = one
        for name, metrics in values.items():
            if metrics or name == MODEL:
                found[name][format_slice(keys)] = dict(sorted(metrics.items()))
    return found


def read_failures(evaluation: str | Path) -> list[str]:
    """Says in plain words which thresholds the model missed.

    Args:
        evaluation: Directory that TFX's Evaluator wrote.

    Returns:
        One line a threshold; empty when the model was blessed.
    """
    (serialised,) = _records(evaluation, "validations")
    result = validation_result_pb2.ValidationResult.FromString(serialised)
    stage: Stage = "ranking" if _label_key(evaluation) == features.LABEL_EVENTS else "retrieval"
    failures = []
    for metrics in sorted(result.metric_validations_per_slice, key=_slice_order):
        keys = _slice_keys(metrics)
        where = f" in {format_slice(keys)}" if keys else ""
        failures += [_explain(failure, where, stage) for failure in metrics.failures]
    missing = result.missing_slices
    failures += [f"no user is in the slice {dict(spec.feature_values)}" for spec in missing]
    if not result.validation_ok and not failures:
        failures.append("TFMA refused the model without naming a threshold")
    return failures


def _explain(failure: validation_result_pb2.ValidationFailure, where: str, stage: Stage) -> str:
    """Says which threshold of which metric was missed.

    Args:
        failure: The metric, its value and the threshold.
        where: In which slice, e.g. ` in slice/activity=0`.
        stage: The model's stage.
    """
    name, value = failure.metric_key.name, _value(failure.metric_value)
    change = failure.metric_threshold.change_threshold
    bounds = failure.metric_threshold.value_threshold
    lowest, highest = bounds.lower_bound.value, bounds.upper_bound.value
    if change.HasField("absolute"):
        lower = change.direction == config_pb2.MetricDirection.LOWER_IS_BETTER
        return (
            f"{name}{where} changed by {value:+.4g} against the served model; "
            f"at {'most' if lower else 'least'} {change.absolute.value:+.4g} is required"
        )
    if name.startswith(OVER_NEIGHBOURS):
        plain = name.removeprefix(OVER_NEIGHBOURS)
        return (
            f"{plain}{where} is {abs(value):.4g} {'below' if value < 0 else 'above'} what counting "
            f"neighbours gives (`{NEIGHBOURS}{plain}`), and `retrieval.evaluation."
            f"beats_neighbours` asks for at least {round(lowest, 6) + 0.0:+.4g}"
        )
    if lowest == HITS_SOMETHING:
        return (
            f"{name}{where} is 0: a model that hits nothing is not pushed, whatever the "
            "thresholds; see that events and catalogue write ids alike"
        )
    if lowest == BETTER_THAN_CHANCE:
        return (
            f"{name}{where} is {value:.4g}: a model that orders candidates no better than chance "
            "is not pushed, whatever the thresholds; see that the test has pages with and without "
            "clicks, and what the model reads"
        )
    if name == "users" and not where:
        counted = "page" if stage == "ranking" else "target"
        return (
            f"only {value:.0f} test users have a {counted}, and `{stage}.evaluation.min_users` "
            f"asks for {lowest:.0f}: over so few, the metrics are mostly chance"
        )
    if bounds.HasField("upper_bound") and not value <= highest:
        return f"{name}{where} is {value:.4g}; at most {highest:.4g} is required"
    return f"{name}{where} is {value:.4g}; at least {lowest:.4g} is required"


def _label_key(evaluation: str | Path) -> str:
    """Returns the feature that held the labels, which TFMA notes beside the metrics."""
    text = Path(evaluation, "eval_config.json").read_text(encoding="utf-8")
    label_key: str = json.loads(text)["evalConfig"]["modelSpecs"][0]["labelKey"]
    return label_key


def _records(evaluation: str | Path, name: str) -> Iterator[bytes]:
    """Yields the records of one of TFMA's files; its own reader warns of a deprecated one."""
    files = sorted(str(file) for file in Path(evaluation).glob(f"{name}*.tfrecord"))
    if not files:
        raise FileNotFoundError(f"{evaluation} has no {name}*.tfrecord; run the Evaluator again.")
    yield from tf.data.TFRecordDataset(files).as_numpy_iterator()


def _value(value: Any) -> float:
    """Returns a TFMA value as a number; that of the whole sample where it is bounded."""
    kind = value.WhichOneof("type")
    if kind == "bounded_value":
        return float(value.bounded_value.value.value)
    return float(getattr(value, kind).value) if kind else float("nan")


def _measured(metric: Any) -> Measured:
    """Returns a metric of TFMA's with its interval, if it has one that is of numbers."""
    value = _value(metric.value)
    if not metric.HasField("confidence_interval"):
        return Measured(value)
    interval = metric.confidence_interval
    low, high = _value(interval.lower_bound), _value(interval.upper_bound)
    if math.isnan(low) or math.isnan(high):
        return Measured(value)
    return Measured(value, low, high)


def _slice_keys(record: Any) -> list[tuple[str, str]]:
    """Returns the features and values of a record's slice; none of that of everybody."""
    return [(key.column, _slice_value(key)) for key in record.slice_key.single_slice_keys]


def _slice_order(record: Any) -> list[tuple[str, tuple[bool, int, str]]]:
    """Orders records by the features and values of their slices; everybody is first."""
    return [(feature, value_order(value)) for feature, value in _slice_keys(record)]


def _slice_value(key: Any) -> str:
    """Returns the value of a slice key as text."""
    kind = key.WhichOneof("kind")
    value = getattr(key, kind)
    return value.decode() if isinstance(value, bytes) else str(value)
