"""TFMA metrics of click prediction, exact.

A row is a candidate of a page. With y its label, p its probability and u its user,

    AUC         = share of pairs (positive, negative) in the right order, ties half
    GAUC        = mean over users of the AUC over their rows, weighted by their rows
    log loss    = mean of -(y log p + (1 - y) log(1 - p))
    calibration = sum p / sum y
    page NDCG   = mean over pages with a positive of NDCG over the page's candidates

Users whose labels are all equal have no AUC and are left out of GAUC; pages without a
positive have no NDCG, and rows without one no calibration. (GAUC: Zhu et al. 2017,
https://arxiv.org/abs/1703.02091, eq. 11.)
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics.metric_types import register_metric

from models.ranking import page_metrics
from tfx_pipeline.evaluation.config import CLICK_METRICS

CANDIDATES = "candidates"  # the key in TFMA's extracts: columns of one user's candidates
PAGE = "page"  # [n] int64, which page of the user's, from 0 and ascending
LABEL = "label"  # [n] int64, bit h is head h
CLICK_RATES = "click_rates"  # [n, H] float32, what popularity predicts
SCORES = "scores"  # the output of the first head
_PENDING = 4096  # users that are put together in one go


def scores_of(model_name: str) -> str:
    """Returns the column of a model's scores, [n, H] float32; NaN for heads that it lacks."""
    return f"{SCORES}:{model_name}"


class Rows(NamedTuple):
    """Candidates of pages, as columns; users and pages are numbered from 0, ascending.

    Attributes:
        user: [n] int64.
        page: [n] int64.
        score: [n] float32, probabilities.
        label: [n] int8, 0 or 1.
    """

    user: np.ndarray
    page: np.ndarray
    score: np.ndarray
    label: np.ndarray

    @classmethod
    def join(cls, parts: Sequence[Rows]) -> Rows:
        """Puts rows together; users and pages of different parts stay different."""
        parts = [part for part in parts if part.page.size]
        if not parts:
            return cls(*(np.zeros(0, kind) for kind in (np.int64, np.int64, np.float32, np.int8)))
        user, page, score, label = (np.concatenate(column) for column in zip(*parts, strict=True))
        sizes = [part.page.size for part in parts]
        user += np.repeat(_firsts([part.user for part in parts]), sizes)
        page += np.repeat(_firsts([part.page for part in parts]), sizes)
        return cls(user, page, score, label)


def _firsts(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the first number of each part when parts that count from 0 are counted through."""
    return np.cumsum([0, *(int(part[-1]) + 1 for part in parts[:-1])])


def values_of(rows: Rows) -> dict[str, float]:
    """Computes every metric of one head.

    Returns:
        `auc`, `gauc`, `page_ndcg`, `log_loss`, `calibration`, `positives`, `users`, `pages`
        and `candidates`. NaN where a metric has no value, and of scores that are NaN.
    """
    label, score = rows.label, rows.score
    counts = {
        "positives": float(label.sum(dtype=np.int64)),
        "users": float(rows.user[-1] + 1 if label.size else 0),
        "pages": float(rows.page[-1] + 1 if label.size else 0),
        "candidates": float(label.size),
    }
    if not label.size or np.isnan(score).any():
        return counts | dict.fromkeys(CLICK_METRICS, float("nan"))
    return counts | {
        "auc": page_metrics.auc(label, score),
        "gauc": page_metrics.grouped_auc(label, score, rows.user),
        "page_ndcg": mean_ndcg(label, score, rows.page),
        "log_loss": page_metrics.log_loss(label, score),
        "calibration": page_metrics.calibration(label, score),
    }


def mean_ndcg(labels: np.ndarray, scores: np.ndarray, pages: np.ndarray) -> float:
    """Computes the mean over pages with a positive of their NDCG; ties share their gain.

        NDCG = sum_i y_i / log2(i + 2) / sum_{i < P} 1 / log2(i + 2)

    with y_i the label at rank i from 0, the mean label of those with the same score, and
    P the positives of the page.

    Args:
        labels: [n] 0 or 1.
        scores: [n].
        pages: [n] int, ascending from 0.

    Returns:
        NaN when no page has a positive.
    """
    order = page_metrics.order_by_score(pages, -scores)
    labels, scores = labels[order].astype(np.float64), scores[order]
    starts = np.flatnonzero(np.diff(pages, prepend=-1))  # of pages, [P]
    discount = 1.0 / np.log2(np.arange(pages.size) - starts[pages] + 2.0)
    new = (np.diff(pages, prepend=-1) > 0) | (np.diff(scores, prepend=0.0) != 0)
    tie = np.cumsum(new) - 1
    shared = (np.bincount(tie, labels) / np.bincount(tie))[tie]
    positives = np.bincount(pages, labels).astype(np.int64)  # [P]
    ideal = np.cumsum(1.0 / np.log2(np.arange(positives.max(initial=1)) + 2.0))
    some = positives > 0
    gain = np.bincount(pages, shared * discount)[some]
    return float(np.mean(gain / ideal[positives[some] - 1])) if some.any() else float("nan")


class RowsPreprocessor(tfma.metrics.Preprocessor):
    """Reads the rows of one user and one head out of TFMA's extracts.

    Args:
        column: The column of scores.
        bit: The head.
    """

    def __init__(self, column: str, bit: int) -> None:
        super().__init__(name=f"rows:{column}:{bit}")
        self._column, self._bit = column, bit

    def process(self, extracts: dict[str, Any]) -> Iterator[Rows]:
        """Yields the rows of the user."""
        columns = extracts[CANDIDATES]
        page = columns[PAGE]
        yield Rows(
            user=np.zeros(page.size, np.int64),
            page=page,
            score=columns[self._column][:, self._bit],
            label=(columns[LABEL] >> self._bit & 1).astype(np.int8),
        )


class ClickMetric(tfma.metrics.Metric):
    """One of the metrics of `values_of`, of one head.

    All metrics of a head share one combiner. AUC and its like need every row at once, so
    the combiner holds them: 21 bytes for each candidate of a slice, for each head, model
    and, with confidence intervals, sample. The worker that joins a slice holds it whole,
    a hundred million candidates in about 2 GB and twice that while they are sorted.

    Args:
        value: Which, a key of `values_of`.
        head: The output that holds the head's scores, `scores` for the first.
        bit: The head's bit of the label.
        name: What it is called.
        click_rates: Measures not the model but popularity: a Parquet file of click rates.
    """

    def __init__(
        self, value: str, head: str = SCORES, bit: int = 0, name: str = "", click_rates: str = ""
    ) -> None:
        super().__init__(
            tfma.metrics.merge_per_key_computations(_computations),
            name=name or value,
            value=value,
            head=head,
            bit=bit,
            click_rates=click_rates,
        )


register_metric(ClickMetric)


class _Combiner(beam.CombineFn):
    """Puts the rows of users together.

    An accumulator is rows that are put together already, and users that wait for it.
    """

    def __init__(self, key: tfma.metrics.MetricKey) -> None:
        self._key = key

    def create_accumulator(self) -> tuple[list[Rows], list[Rows]]:
        return [], []

    def add_input(
        self, accumulator: tuple[list[Rows], list[Rows]], rows: Rows
    ) -> tuple[list[Rows], list[Rows]]:
        joined, waiting = accumulator
        waiting.append(rows)
        if len(waiting) < _PENDING:
            return accumulator
        return [*joined, Rows.join(waiting)], []

    def merge_accumulators(
        self, accumulators: Iterable[tuple[list[Rows], list[Rows]]]
    ) -> tuple[list[Rows], list[Rows]]:
        return [Rows.join([one for both in accumulators for part in both for one in part])], []

    def compact(self, accumulator: tuple[list[Rows], list[Rows]]) -> tuple[list[Rows], list[Rows]]:
        return self.merge_accumulators([accumulator])

    def extract_output(
        self, accumulator: tuple[list[Rows], list[Rows]]
    ) -> dict[tfma.metrics.MetricKey, dict[str, float]]:
        ([rows], _) = self.compact(accumulator)
        return {self._key: values_of(rows)}


def _computations(
    name: str,
    value: str,
    head: str,
    bit: int,
    click_rates: str = "",
    model_name: str = "",
    output_name: str = "",
) -> list[Any]:
    """Returns what computes a metric: TFMA drops the combiners with equal keys but one."""
    del head, output_name
    column = CLICK_RATES if click_rates else scores_of(model_name)
    # TFMA reports no key with a leading _
    source = tfma.metrics.MetricKey(f"_{column}:{bit}", model_name=model_name)
    key = tfma.metrics.MetricKey(name, model_name=model_name)
    return [
        tfma.metrics.MetricComputation(
            keys=[source],
            preprocessors=[RowsPreprocessor(column, bit)],
            combiner=_Combiner(source),
        ),
        tfma.metrics.DerivedMetricComputation(
            keys=[key], result=lambda metrics: {key: metrics[source][value]}
        ),
    ]
