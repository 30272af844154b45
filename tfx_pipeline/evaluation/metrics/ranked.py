"""TFMA metrics of where the targets stand in the recommended list."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from functools import partial
from typing import Any

import apache_beam as beam
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics.metric_types import register_metric

from tfx_pipeline.evaluation.metrics.extracts import MostPopularPreprocessor
from tfx_pipeline.evaluation.metrics.extracts import OutcomePreprocessor
from tfx_pipeline.evaluation.metrics.neighbours import NeighboursPreprocessor
from tfx_pipeline.evaluation.metrics.ranking_sums import Outcome
from tfx_pipeline.evaluation.metrics.ranking_sums import RankingSums

_PENDING = 256  # users that are added up in one go


class RankedAtK(tfma.metrics.Metric):
    """A mean over users of where their targets stand among the first k, e.g. `hr@10`.

    Args:
        value: Which of `RANKED`; the field of `RankingSums` of that name is its sum.
        k: How many recommended items count.
        name: What the metric is called, e.g. `hr@10` when empty.
        popular: Measures not the model but the most popular candidates: the arguments of
            `MostPopularPreprocessor`.
        neighbours: Measures not the model but the neighbours of the history: the arguments
            of `NeighboursPreprocessor`.
    """

    def __init__(
        self,
        value: str,
        k: int,
        name: str = "",
        popular: Mapping[str, Any] | None = None,
        neighbours: Mapping[str, Any] | None = None,
    ) -> None:
        given = {"popular": popular, "neighbours": neighbours}
        more = {name: dict(of) for name, of in given.items() if of}
        super().__init__(_computations(_mean(value)), name=name or f"{value}@{k}", k=k, **more)
        self._value = value

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**self.kwargs, "value": self._value}


class OverNeighbours(tfma.metrics.Metric):
    """Difference between the model's value of `RankedAtK` and that of neighbours.

    Args:
        value: Which of `RANKED`.
        k: How many recommended items count.
        name: What the metric is called.
        neighbours: The arguments of `NeighboursPreprocessor`.
    """

    def __init__(
        self, value: str, k: int, name: str, neighbours: Mapping[str, Any] | None = None
    ) -> None:
        more = {"neighbours": dict(neighbours)} if neighbours else {}
        create = tfma.metrics.merge_per_key_computations(partial(_lead, value))
        super().__init__(create, name=name, k=k, **more)
        self._value = value

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**self.kwargs, "value": self._value}


class Users(tfma.metrics.Metric):
    """Number of users with a target: those over whom the means go (`users`)."""

    def __init__(self, name: str = "users") -> None:
        """Counts."""
        super().__init__(_computations(lambda sums: float(sums.users)), name=name)


class UsersWithoutTarget(tfma.metrics.Metric):
    """Number of users without a target, who are in no mean (`users_without_target`)."""

    def __init__(self, name: str = "users_without_target") -> None:
        """Counts."""
        super().__init__(_computations(lambda sums: float(sums.without_target)), name=name)


class RepeatShare(tfma.metrics.Metric):
    """Share of targets that the user's history has already (`repeat_share`)."""

    def __init__(self, name: str = "repeat_share") -> None:
        """Measures the data, not the model."""
        super().__init__(_computations(RankingSums.repeat_share), name=name)


for _metric in (RankedAtK, OverNeighbours, Users, UsersWithoutTarget, RepeatShare):
    register_metric(_metric)


class _Combiner(beam.CombineFn):
    """Adds outcomes up, a batch at a time.

    An accumulator is the sums and the users that still wait to be added.
    """

    def __init__(self, key: tfma.metrics.MetricKey, k: int | None) -> None:
        self._key = key
        self._k = k

    def create_accumulator(self) -> tuple[RankingSums, list[Outcome]]:
        return RankingSums(self._k), []

    def add_input(
        self, accumulator: tuple[RankingSums, list[Outcome]], outcome: Outcome
    ) -> tuple[RankingSums, list[Outcome]]:
        accumulator[1].append(outcome)
        return accumulator if len(accumulator[1]) < _PENDING else self.compact(accumulator)

    def merge_accumulators(
        self, accumulators: Iterable[tuple[RankingSums, list[Outcome]]]
    ) -> tuple[RankingSums, list[Outcome]]:
        total, pending = self.create_accumulator()
        for sums, waiting in accumulators:
            total.merge(sums)
            pending.extend(waiting)
        return self.compact((total, pending))

    def compact(
        self, accumulator: tuple[RankingSums, list[Outcome]]
    ) -> tuple[RankingSums, list[Outcome]]:
        sums, waiting = accumulator
        sums.add(waiting)
        return sums, []

    def extract_output(
        self, accumulator: tuple[RankingSums, list[Outcome]]
    ) -> dict[tfma.metrics.MetricKey, RankingSums]:
        return {self._key: self.compact(accumulator)[0]}


def _mean(field: str) -> Callable[[RankingSums], float]:
    return lambda sums: sums.mean(field)


def _computations(value: Callable[[RankingSums], float]) -> Callable[..., list[Any]]:
    """Returns what TFMA calls to compute a metric that follows from sums at one k.

    All metrics with the same k share one combiner: TFMA drops computations
    with equal keys.
    """

    def create(
        name: str,
        k: int | None = None,
        popular: Mapping[str, Any] | None = None,
        neighbours: Mapping[str, Any] | None = None,
        model_name: str = "",
        output_name: str = "",
    ) -> list[Any]:
        sums, source = _sums(k, popular, neighbours, model_name, output_name)
        key = tfma.metrics.MetricKey(name, model_name=model_name, output_name=output_name)
        derived = tfma.metrics.DerivedMetricComputation(
            keys=[key], result=lambda metrics: {key: value(metrics[source])}
        )
        return [sums, derived]

    return tfma.metrics.merge_per_key_computations(create)


def _lead(
    value: str,
    name: str,
    k: int,
    neighbours: Mapping[str, Any],
    model_name: str = "",
    output_name: str = "",
) -> list[Any]:
    """Returns what TFMA calls to compute `OverNeighbours`."""
    names = (model_name, output_name)
    ours, model = _sums(k, None, None, *names)
    theirs, counting = _sums(k, None, neighbours, *names)
    key = tfma.metrics.MetricKey(name, model_name=model_name, output_name=output_name)
    derived = tfma.metrics.DerivedMetricComputation(
        keys=[key],
        result=lambda metrics: {key: metrics[model].mean(value) - metrics[counting].mean(value)},
    )
    return [ours, theirs, derived]


def _sums(
    k: int | None,
    popular: Mapping[str, Any] | None,
    neighbours: Mapping[str, Any] | None,
    model_name: str,
    output_name: str,
) -> tuple[Any, tfma.metrics.MetricKey]:
    """Returns the computation of the sums at one k, and its key: equal ones are shared."""
    given: dict[str, Any] = {"model_name": model_name, "output_name": output_name}
    outcome: tfma.metrics.Preprocessor
    if popular:
        what, outcome = "_most_popular", MostPopularPreprocessor(**popular, **given)
    elif neighbours:
        what, outcome = "_neighbours", NeighboursPreprocessor(**neighbours, **given)
    else:
        what, outcome = "_ranking", OutcomePreprocessor(**given, with_repeats=k is None)
    private = f"{what}@{k}" if k else what  # TFMA reports no key with a leading _
    source = tfma.metrics.MetricKey(private, model_name=model_name, output_name=output_name)
    sums = tfma.metrics.MetricComputation(
        keys=[source], preprocessors=[outcome], combiner=_Combiner(source, k)
    )
    return sums, source
