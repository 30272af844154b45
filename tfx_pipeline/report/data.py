"""What TFX's data components left of a run: splits, TFDV's statistics and anomalies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tensorflow_metadata.proto.v0 import statistics_pb2

from tfx_pipeline.components.example_validator.report import Finding
from tfx_pipeline.components.example_validator.report import findings
from tfx_pipeline.report.facts import GENERATOR
from tfx_pipeline.report.gather import Missing
from tfx_pipeline.runners.recorded import RecordedRun
from transforms import features

_GENERATION = "generation_report.json"
_STATISTICS = "FeatureStats.pb"
_ANOMALIES = "SchemaDiff.pb"


@dataclass(frozen=True)
class FeatureRow:
    """Statistics of a feature in a split.

    Attributes:
        name: The feature.
        kind: `INT`, `FLOAT`, `STRING` or `BYTES`.
        present: Share of examples that have it.
        mean_values: Values of an example that has it, on average.
        most_values: Values of the example with most of them.
        content: What the values are like, in a few words.
    """

    name: str
    kind: str
    present: float
    mean_values: float
    most_values: int
    content: str


@dataclass(frozen=True)
class SplitStatistics:
    """Statistics of a split.

    Attributes:
        name: The split.
        examples: How many it has.
        features: One row a feature, by name.
        lengths: Quantiles of the number of events of a timeline, from 0 to 1 and upwards, of
            splits that have timelines.
    """

    name: str
    examples: int
    features: tuple[FeatureRow, ...]
    lengths: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class DataReport:
    """What a report shows of the data.

    Attributes:
        generation: Counts of the example generator, nested by what they count.
        statistics: TFDV's statistics by split.
        anomalies: TFDV's findings in all splits.
        splits_validated: How many splits the example validator looked at.
    """

    generation: Mapping[str, Any] | Missing
    statistics: tuple[SplitStatistics, ...] | Missing
    anomalies: tuple[Finding, ...] | Missing
    splits_validated: int = 0


def gather_data(run: RecordedRun) -> DataReport:
    """Gathers what a run left of its data."""
    generation: Mapping[str, Any] | Missing
    examples = run.output(GENERATOR, "examples")
    if examples and (examples / _GENERATION).is_file():
        generation = json.loads((examples / _GENERATION).read_text(encoding="utf-8"))
    else:
        generation = Missing(run.why_missing(GENERATOR, "examples"))
    made = run.output("statistics-gen", "statistics")
    statistics: tuple[SplitStatistics, ...] | Missing
    if made:
        statistics = tuple(map(_split, sorted(made.glob(f"*/{_STATISTICS}"), key=_split_order)))
    else:
        statistics = Missing(run.why_missing("statistics-gen", "statistics"))
    anomalies, validated = _anomalies(run)
    return DataReport(generation, statistics, anomalies, validated)


def _split_name(file: Path) -> str:
    return file.parent.name.removeprefix("Split-")


def _split_order(file: Path) -> tuple[int, str]:
    """Puts splits in the order of a timeline, and others behind them."""
    name = _split_name(file)
    known = (*features.SPLITS, *features.PAGE_SPLITS)
    return known.index(name) if name in known else len(known), name


def _split(file: Path) -> SplitStatistics:
    found = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read_bytes())
    (dataset,) = found.datasets
    rows = [_row(one, dataset.num_examples) for one in dataset.features]
    timelines = [one for one in dataset.features if _name(one) == features.EVENT_ENTITY]
    return SplitStatistics(
        _split_name(file),
        dataset.num_examples,
        tuple(sorted(rows, key=lambda row: row.name)),
        _quantiles(timelines[0]) if timelines else (),
    )


def _name(feature: Any) -> str:
    return "/".join(feature.path.step) or str(feature.name)


def _common(feature: Any) -> Any:
    return getattr(feature, feature.WhichOneof("stats")).common_stats


def _row(feature: Any, examples: int) -> FeatureRow:
    common = _common(feature)
    return FeatureRow(
        _name(feature),
        statistics_pb2.FeatureNameStatistics.Type.Name(feature.type),
        common.num_non_missing / examples if examples else 0.0,
        common.avg_num_values,
        common.max_num_values,
        _content(feature),
    )


def _content(feature: Any) -> str:
    """Says what the values of a feature are like."""
    kind = feature.WhichOneof("stats")
    if kind == "num_stats":
        numbers = feature.num_stats
        if features.EVENT_TIMESTAMP.rpartition("/")[2] in _name(feature):
            return ""  # microseconds tell nobody anything
        return f"{numbers.min:.6g} to {numbers.max:.6g}, mean {numbers.mean:.6g}"
    if kind == "string_stats":
        strings = feature.string_stats
        top = [f"{one.value} ({one.frequency:,.0f})" for one in strings.top_values[:3]]
        return f"{strings.unique:,} different: {', '.join(top)}" if top else "no value"
    return ""


def _quantiles(feature: Any) -> tuple[tuple[float, float], ...]:
    """Returns share of timelines and number of events, upwards."""
    buckets = _common(feature).num_values_histogram.buckets
    total = sum(bucket.sample_count for bucket in buckets)
    if not total:
        return ()
    points = [(0.0, buckets[0].low_value or 1.0)]
    seen = 0.0
    for bucket in buckets:
        seen += bucket.sample_count
        points.append((seen / total, bucket.high_value))
    return tuple(points)


def _anomalies(run: RecordedRun) -> tuple[tuple[Finding, ...] | Missing, int]:
    node = "example-validator"
    folder = run.output(node, "anomalies")
    step = run.steps.get(node)
    if folder is None and step is not None:  # one that anomalies stopped has written them, too
        left = run.run_dir / "artifacts" / node / "anomalies"
        made = sorted(left.glob("[0-9]*"), key=lambda path: int(path.name))
        folder = made[-1] if made and run.newest and step.state == "FAILED" else None
    if folder is None:
        return Missing(run.why_missing(node, "anomalies")), 0
    files = sorted(folder.glob(f"*/{_ANOMALIES}"), key=_split_order)
    found = [
        finding
        for file in files
        for finding in findings(
            _split_name(file), anomalies_pb2.Anomalies.FromString(file.read_bytes())
        )
    ]
    return tuple(found), len(files)
