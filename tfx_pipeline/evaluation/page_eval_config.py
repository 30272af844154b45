"""TFMA's configuration of an evaluation of ranking models."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.wrappers_pb2 import DoubleValue
from tensorflow_model_analysis.proto import config_pb2

from tfx_pipeline.evaluation.config import CLICK_METRICS
from tfx_pipeline.evaluation.config import HEAD_COUNTS
from tfx_pipeline.evaluation.config import MOST_POPULAR
from tfx_pipeline.evaluation.config import PAGE_COUNTS
from tfx_pipeline.evaluation.config import Bounds
from tfx_pipeline.evaluation.config import RankingEvaluationConfig
from tfx_pipeline.evaluation.config import bounds_of
from tfx_pipeline.evaluation.config import lower_is_better
from tfx_pipeline.evaluation.eval_config import per_slice
from tfx_pipeline.evaluation.eval_config import tfma_config
from tfx_pipeline.evaluation.metrics.clicks import SCORES
from transforms import features

CLICK_METRICS_MODULE = "tfx_pipeline.evaluation.metrics.clicks"
BETTER_THAN_CHANCE = 0.5 + 1e-9  # a bound on AUC that no order at random reaches


def make_page_eval_config(config: RankingEvaluationConfig) -> config_pb2.EvalConfig:
    """Translates the evaluation of a ranking model for TFX's Evaluator.

    Args:
        config: Metrics, slices and gates.

    Returns:
        TFMA's configuration: one model specification (TFX adds a baseline when there is
        one), the metrics of every head with their thresholds, every slice.
    """
    wanted: dict[str, dict[str, Any]] = {}
    for bit, head in enumerate((SCORES, *config.label.heads[1:])):
        for value in (*CLICK_METRICS, *HEAD_COUNTS):
            wanted[config.name_of(value, bit)] = {"value": value, "head": head, "bit": bit}
    wanted |= {name: {"value": name} for name in PAGE_COUNTS}
    metrics = [
        config_pb2.MetricConfig(
            class_name="ClickMetric",
            module=CLICK_METRICS_MODULE,
            config=json.dumps(arguments | {"name": name}),
            per_slice_thresholds=_thresholds(name, config),
        )
        for name, arguments in wanted.items()
    ]
    return tfma_config(config, features.LABEL_EVENTS, config.slices, metrics)


def with_click_rates(eval_config: config_pb2.EvalConfig, click_rates: str) -> config_pb2.EvalConfig:
    """Adds the metrics of popularity, which are known only when the evaluation runs.

    Args:
        eval_config: What `make_page_eval_config` returned.
        click_rates: Parquet file of click rates by entity; see `click_rates`.

    Returns:
        A copy in which the metrics of every head are measured of the click rates besides.
    """
    filled = config_pb2.EvalConfig()
    filled.CopyFrom(eval_config)
    for spec in filled.metrics_specs:
        for metric in list(spec.metrics):
            arguments = json.loads(metric.config)
            if arguments["value"] in CLICK_METRICS:
                arguments |= {
                    "name": MOST_POPULAR + arguments["name"],
                    "click_rates": click_rates,
                }
                spec.metrics.add(
                    class_name=metric.class_name,
                    module=metric.module,
                    config=json.dumps(arguments),
                )
    return filled


def _thresholds(
    name: str, config: RankingEvaluationConfig
) -> list[config_pb2.PerSliceMetricThreshold]:
    """Returns the thresholds of one metric.

    The number of users and the AUC of the first head always have one, for without any
    threshold TFX's Evaluator gives no verdict.
    """
    given = config.thresholds.get(name)
    bounds = None if given is None else bounds_of(name, given)
    least = {"users": float(config.min_users), "auc": BETTER_THAN_CHANCE}.get(name)
    if least is not None:
        lower, upper = (bounds.lower, bounds.upper) if bounds else (None, None)
        bounds = Bounds(lower=max(least, lower or 0.0), upper=upper)
    overall = config_pb2.MetricThreshold()
    if bounds:
        overall.value_threshold.CopyFrom(_value_threshold(bounds))
    if name in config.change_thresholds:
        lower = lower_is_better(name)
        direction = config_pb2.MetricDirection
        overall.change_threshold.direction = (
            direction.LOWER_IS_BETTER if lower else direction.HIGHER_IS_BETTER
        )
        change = DoubleValue(value=config.change_thresholds[name])
        overall.change_threshold.absolute.CopyFrom(change)
    slices = {
        slice_name: _value_threshold(bounds_of(name, thresholds[name]))
        for slice_name, thresholds in config.slice_thresholds.items()
        if name in thresholds
    }
    return per_slice(overall, slices)


def _value_threshold(bounds: Bounds) -> config_pb2.GenericValueThreshold:
    threshold = config_pb2.GenericValueThreshold()
    if bounds.lower is not None:
        threshold.lower_bound.CopyFrom(DoubleValue(value=bounds.lower))
    if bounds.upper is not None:
        threshold.upper_bound.CopyFrom(DoubleValue(value=bounds.upper))
    return threshold
