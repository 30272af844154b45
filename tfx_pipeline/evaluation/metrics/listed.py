"""TFMA metrics of what is recommended, whatever the targets are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field
from functools import lru_cache
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics.metric_types import register_metric

from tfx_pipeline.evaluation.metrics.extracts import Listed
from tfx_pipeline.evaluation.metrics.extracts import ListedPreprocessor
from transforms.arrow import read_table


@dataclass
class ListedSums:
    """Counts of how often each id was recommended, and how many of them were seen before."""

    ids: Counter[bytes] = field(default_factory=Counter)
    seen: int = 0

    def share_seen(self) -> float:
        """Returns the share of recommended ids that were in the history."""
        total = sum(self.ids.values())
        return self.seen / total if total else float("nan")

    def mean_popularity(self, counts: dict[bytes, float]) -> float:
        """Returns the mean of log10(1 + count) over recommended ids."""
        if not self.ids:
            return float("nan")
        times = np.fromiter(self.ids.values(), np.float64, len(self.ids))
        count = np.fromiter((counts.get(name, 0.0) for name in self.ids), np.float64, len(times))
        return float(np.average(np.log10(1.0 + count), weights=times))


class CoverageAtK(tfma.metrics.Metric):
    """Share of the candidates that anybody is recommended among the first k (`coverage@k`)."""

    def __init__(self, k: int, candidates: int = 0, name: str = "") -> None:
        """Measures the first `k` against this many `candidates`."""
        value = partial(_coverage, candidates=candidates)
        super().__init__(_computations(value), name=name or f"coverage@{k}", k=k)
        self._candidates = candidates

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**self.kwargs, "candidates": self._candidates}

    @property
    def compute_confidence_interval(self) -> bool:
        """A distinct count grows with the sample, so resampling says nothing about it."""
        return False


class PopularityAtK(tfma.metrics.Metric):
    """Mean over the first k of log10(1 + training events of the item) (`popularity@k`).

    It is the average recommendation popularity of Yin et al., Challenging the
    Long Tail Recommendation, VLDB 2012, on a logarithmic scale.
    """

    def __init__(self, k: int, counts: str = "", name: str = "") -> None:
        """Measures the first `k` by the Parquet file `counts` (columns entity, events)."""
        value = partial(_popularity, counts=counts)
        super().__init__(_computations(value), name=name or f"popularity@{k}", k=k)
        self._counts = counts

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**self.kwargs, "counts": self._counts}


class SeenAtK(tfma.metrics.Metric):
    """Share of what is recommended among the first k that the history has (`seen@k`)."""

    def __init__(self, k: int, name: str = "") -> None:
        """Measures the first `k`; 0 where everything seen is excluded."""
        super().__init__(_computations(ListedSums.share_seen), name=name or f"seen@{k}", k=k)


for _metric in (CoverageAtK, PopularityAtK, SeenAtK):
    register_metric(_metric)


class _Combiner(beam.CombineFn):
    """Counts what is recommended."""

    def __init__(self, key: tfma.metrics.MetricKey) -> None:
        self._key = key

    def create_accumulator(self) -> ListedSums:
        return ListedSums()

    def add_input(self, accumulator: ListedSums, listed: Listed) -> ListedSums:
        accumulator.ids.update(listed.ids)
        accumulator.seen += listed.seen
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[ListedSums]) -> ListedSums:
        total = self.create_accumulator()
        for accumulator in accumulators:
            total.ids.update(accumulator.ids)
            total.seen += accumulator.seen
        return total

    def extract_output(self, accumulator: ListedSums) -> dict[tfma.metrics.MetricKey, ListedSums]:
        return {self._key: accumulator}


def _coverage(sums: ListedSums, candidates: int) -> float:
    if candidates < 1:
        raise ValueError(
            "coverage@k needs `candidates`, the number of items that may be recommended; the "
            "Evaluator of this project reads it from the servable, elsewhere give it by hand."
        )
    return len(sums.ids) / candidates


def _popularity(sums: ListedSums, counts: str) -> float:
    if not counts:
        raise ValueError(
            "popularity@k needs `counts`, a Parquet file with the columns entity and events; "
            "the Evaluator of this project writes one, elsewhere give one by hand."
        )
    return sums.mean_popularity(_read_counts(counts))


@lru_cache(maxsize=2)
def _read_counts(path: str) -> dict[bytes, float]:
    """Reads training events by entity."""
    table = read_table(path, columns=["entity", "events"])
    names = table["entity"].cast("binary").to_pylist()
    return dict(zip(names, table["events"].to_pylist(), strict=True))


def _computations(value: Callable[[ListedSums], float]) -> Callable[..., list[Any]]:
    """Returns what TFMA calls to compute a metric of the first k recommended ids."""

    def create(name: str, k: int, model_name: str = "", output_name: str = "") -> list[Any]:
        source = tfma.metrics.MetricKey(
            f"_listed@{k}", model_name=model_name, output_name=output_name
        )
        key = tfma.metrics.MetricKey(name, model_name=model_name, output_name=output_name)
        sums = tfma.metrics.MetricComputation(
            keys=[source],
            preprocessors=[ListedPreprocessor(k, model_name, output_name)],
            combiner=_Combiner(source),
        )
        derived = tfma.metrics.DerivedMetricComputation(
            keys=[key], result=lambda metrics: {key: value(metrics[source])}
        )
        return [sums, derived]

    return tfma.metrics.merge_per_key_computations(create)
