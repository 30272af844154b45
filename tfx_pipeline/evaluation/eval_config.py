"""TFMA's configuration of an evaluation, and of one of retrieval models."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from google.protobuf.wrappers_pb2 import BoolValue
from google.protobuf.wrappers_pb2 import DoubleValue
from google.protobuf.wrappers_pb2 import Int32Value
from tensorflow_model_analysis.proto import config_pb2

from tfx_pipeline.evaluation.config import MOST_POPULAR
from tfx_pipeline.evaluation.config import NEIGHBOURS
from tfx_pipeline.evaluation.config import OVER_NEIGHBOURS
from tfx_pipeline.evaluation.config import RANKED
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.config import RetrievalEvaluationConfig
from tfx_pipeline.evaluation.config import parse_slice
from transforms import features

METRICS_MODULE = "tfx_pipeline.evaluation.metrics"
SIGNATURE = "serving_default"
HITS_SOMETHING = 1e-9  # a bound that no model without a hit reaches
_RANKED_AT_K = "RankedAtK"  # the class that measures each of `RANKED`
_OVER = "OverNeighbours"
_ROUNDING = 1e-9  # sums of the same terms in another order differ by less


def make_eval_config(
    config: RetrievalEvaluationConfig, monitor: str = "hr@10"
) -> config_pb2.EvalConfig:
    """Translates the section `evaluation` for TFX's Evaluator.

    Args:
        config: Metrics, slices and gates.
        monitor: The metric that chose the epoch: a model that hits nothing among its
            first K is not blessed, whatever the thresholds.

    Returns:
        TFMA's configuration: one model specification (TFX adds a baseline when
        there is one), every metric with its thresholds, every slice.
    """
    metrics = _metrics(config, _watched(config, monitor))
    if config.beats_neighbours is not None:
        metrics.append(_gate_of_neighbours(config, monitor))
    return tfma_config(config, features.TARGET_ENTITY, config.slices, metrics)


def tfma_config(
    config: EvaluationConfig,
    label_key: str,
    slices: Iterable[Sequence[str]],
    metrics: Iterable[config_pb2.MetricConfig],
) -> config_pb2.EvalConfig:
    """Makes TFMA's configuration of an evaluation of any stage.

    Args:
        config: What all stages have in common.
        label_key: The feature that holds the labels.
        slices: Features by whose values examples are grouped, the whole besides.
        metrics: Metrics with their thresholds.
    """
    options = config_pb2.Options(
        compute_confidence_intervals=BoolValue(value=config.confidence_intervals),
        min_slice_size=Int32Value(value=config.min_slice_users),
        include_default_metrics=BoolValue(value=False),
    )
    options.confidence_intervals.method = (
        config_pb2.ConfidenceIntervalOptions.POISSON_BOOTSTRAP  # used when they are computed
    )
    return config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(signature_name=SIGNATURE, label_key=label_key)],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            *(config_pb2.SlicingSpec(feature_keys=keys) for keys in slices),
        ],
        options=options,
    )


def per_slice(
    overall: config_pb2.MetricThreshold, slices: Mapping[str, config_pb2.GenericValueThreshold]
) -> list[config_pb2.PerSliceMetricThreshold]:
    """Returns the thresholds of one metric, each with its slice.

    That of all users is given with a slice too (the empty one), for TFMA
    checks a threshold without any slice in every slice.

    Args:
        overall: The threshold over all users; an empty one is left out.
        slices: Thresholds by the name of a slice, e.g. `slice/activity=0`.
    """
    found = [(config_pb2.SlicingSpec(), overall)] if overall.ByteSize() else []
    found += [
        (
            config_pb2.SlicingSpec(feature_values=parse_slice(name)),
            config_pb2.MetricThreshold(value_threshold=bounds),
        )
        for name, bounds in slices.items()
    ]
    return [
        config_pb2.PerSliceMetricThreshold(slicing_specs=[spec], threshold=threshold)
        for spec, threshold in found
    ]


def with_data(
    eval_config: config_pb2.EvalConfig,
    candidates: int,
    popularity: str,
    most_popular: str,
    exclude_seen: Sequence[str] = (),
    neighbours: Mapping[str, str] | None = None,
) -> config_pb2.EvalConfig:
    """Fills in what is known only when the evaluation runs.

    Args:
        eval_config: What `make_eval_config` returned.
        candidates: How many items may be recommended.
        popularity: Parquet file of training events by entity.
        most_popular: Parquet file of candidates, the most popular first.
        exclude_seen: Event types whose entities are not recommended again.
        neighbours: Arguments of `NeighboursPreprocessor` but for `exclude_seen`; None
            where nobody counted.

    Returns:
        A copy in which coverage@k and popularity@k can be computed, and in which the
        ranking metrics are measured of the most popular candidates and of neighbours besides.
    """
    seen = {"exclude_seen": list(exclude_seen)}
    filled = config_pb2.EvalConfig()
    filled.CopyFrom(eval_config)
    every = [metric for spec in filled.metrics_specs for metric in spec.metrics]
    lengths = [json.loads(one.config)["k"] for one in every if one.class_name == _RANKED_AT_K]
    popular = {"popular": most_popular, "depth": max(lengths, default=1)} | seen
    beside: dict[str, dict[str, Any]] = {MOST_POPULAR: {"popular": popular}}
    if neighbours:
        beside[NEIGHBOURS] = {"neighbours": {**neighbours, **seen}}
    more: dict[str, dict[str, Any]] = {
        "CoverageAtK": {"candidates": candidates},
        "PopularityAtK": {"counts": popularity},
        _OVER: beside.get(NEIGHBOURS, {}),
    }
    for spec in filled.metrics_specs:
        for metric in spec.metrics:
            if metric.module == METRICS_MODULE and metric.class_name in more:
                metric.config = json.dumps(json.loads(metric.config) | more[metric.class_name])
        ranked = [metric for metric in spec.metrics if metric.class_name == _RANKED_AT_K]
        for (prefix, source), metric in itertools.product(beside.items(), ranked):
            arguments = json.loads(metric.config)
            arguments = arguments | source | {"name": prefix + arguments["name"]}
            spec.metrics.add(
                class_name=metric.class_name, module=METRICS_MODULE, config=json.dumps(arguments)
            )
    return filled


def _watched(config: RetrievalEvaluationConfig, monitor: str) -> str:
    """Returns the hit rate of which a model has to have one: at the K that chose the epoch."""
    k = int(monitor.rpartition("@")[2])
    return f"hr@{k if k in config.ks else max(config.ks)}"


def _gate_of_neighbours(config: RetrievalEvaluationConfig, monitor: str) -> config_pb2.MetricConfig:
    """Returns the metric that says how far the model is above neighbours, with its threshold."""
    assert config.beats_neighbours is not None
    value, _, k = monitor.partition("@")
    least = DoubleValue(value=config.beats_neighbours - _ROUNDING)
    threshold = config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(lower_bound=least)
    )
    return config_pb2.MetricConfig(
        class_name=_OVER,
        module=METRICS_MODULE,
        config=json.dumps({"value": value, "k": int(k), "name": f"{OVER_NEIGHBOURS}{monitor}"}),
        per_slice_thresholds=per_slice(threshold, {}),
    )


def _metrics(config: RetrievalEvaluationConfig, watched: str) -> list[config_pb2.MetricConfig]:
    """Returns every metric with its thresholds."""
    listed = {"coverage": "CoverageAtK", "popularity": "PopularityAtK", "seen": "SeenAtK"}
    single = {
        "repeat_share": "RepeatShare",
        "users": "Users",
        "users_without_target": "UsersWithoutTarget",
    }
    wanted: dict[str, tuple[str, dict[str, Any]]] = {}
    for k in config.ks:
        wanted |= {f"{name}@{k}": (_RANKED_AT_K, {"value": name, "k": k}) for name in RANKED}
    wanted |= {f"{n}@{config.list_k}": (c, {"k": config.list_k}) for n, c in listed.items()}
    wanted |= {name: (kind, {}) for name, kind in single.items()}
    return [
        config_pb2.MetricConfig(
            class_name=kind,
            module=METRICS_MODULE,
            config=json.dumps(arguments | {"name": name}),
            per_slice_thresholds=_thresholds(name, config, watched),
        )
        for name, (kind, arguments) in wanted.items()
    ]


def _thresholds(
    name: str, config: RetrievalEvaluationConfig, watched: str
) -> list[config_pb2.PerSliceMetricThreshold]:
    """Returns the thresholds of one metric.

    The number of users always has one, for without any threshold TFX's Evaluator gives
    no verdict.
    """
    overall = config_pb2.MetricThreshold()
    lowest = config.thresholds.get(name)
    if name == "users":
        lowest = max(config.min_users, lowest or 0)
    if name == watched:
        lowest = max(HITS_SOMETHING, lowest or 0)
    change = config.change_thresholds.get(name)
    if lowest is not None:
        overall.value_threshold.lower_bound.CopyFrom(DoubleValue(value=lowest))
    if change is not None:
        overall.change_threshold.direction = config_pb2.MetricDirection.HIGHER_IS_BETTER
        overall.change_threshold.absolute.CopyFrom(DoubleValue(value=change))
    slices = {
        slice_name: config_pb2.GenericValueThreshold(
            lower_bound=DoubleValue(value=thresholds[name])
        )
        for slice_name, thresholds in config.slice_thresholds.items()
        if name in thresholds
    }
    return per_slice(overall, slices)
