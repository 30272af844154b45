"""TFMA metrics of click prediction, exact.

A row is a candidate of a page. With y its label, p its probability and u its user,

    AUC         = share of pairs (positive, negative) in the right order, ties half
    GAUC        = mean over users of the AUC over their rows, weighted by their rows
    log loss    = mean of -(y log p + (1 - y) log(1 - p))
    calibration = sum p / sum y
    page NDCG   = mean over pages with a positive of NDCG over the page's candidates

Users and pages whose labels are all equal have no GAUC and no NDCG.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics.metric_types import register_metric

from models.ranking import page_metrics
from transforms import features

LEFT_OUT = -1  # the label of a candidate that a slice does not hold
SCORES = "scores"
_PENDING = 4096  # pages that are put together in one go


class Rows(NamedTuple):
    """Candidates of pages, as columns.

    Attributes:
        user: [n] int64, a hash of the user's id.
        page: [n] int64, which page of the rows each candidate is of.
        score: [n] float32, probabilities.
        label: [n] int64, bit h is head h.
    """

    user: np.ndarray
    page: np.ndarray
    score: np.ndarray
    label: np.ndarray

    @classmethod
    def join(cls, parts: Iterable[Rows]) -> Rows:
        """Puts rows together; pages of different parts stay different."""
        moved, first = [cls(*(np.zeros(0, kind) for kind in _KINDS))], 0
        for part in parts:
            moved.append(part._replace(page=part.page + first))
            first += int(part.page.max()) + 1 if part.page.size else 0
        return cls(*(np.concatenate(column) for column in zip(*moved, strict=True)))


_KINDS = (np.int64, np.int64, np.float32, np.int64)


class PagePreprocessor(tfma.metrics.Preprocessor):
    """Reads the candidates of a page out of TFMA's extracts.

    Args:
        head: Output whose scores are read; `scores` is the first head.
        bit: Its bit of the label.
        model_name: The model, where several are evaluated.
    """

    def __init__(self, head: str = SCORES, bit: int = 0, model_name: str = "") -> None:
        super().__init__(name=f"page:{model_name}:{head}:{bit}")
        self._head, self._bit, self._model = head, bit, model_name

    def process(self, extracts: dict[str, Any]) -> Iterator[Rows]:
        """Yields the rows of one page."""
        label = np.ravel(_of_model(extracts[tfma.LABELS_KEY], self._model)).astype(np.int64)
        output = _of_model(extracts[tfma.PREDICTIONS_KEY], self._model)
        if not isinstance(output, Mapping) or self._head not in output:
            found = sorted(output) if isinstance(output, Mapping) else type(output).__name__
            raise ValueError(
                f"A ranking model answers with `{self._head}` [B, C]; this one answered with "
                f"{found}. Evaluate its signature `serving_default`."
            )
        score = np.ravel(output[self._head])[: label.size].astype(np.float32)
        kept = label != LEFT_OUT
        (user,) = np.ravel(extracts[tfma.FEATURES_KEY][features.USER_ID])[:1]
        number = int(kept.sum())
        yield Rows(
            np.full(number, _hash(user), np.int64),
            np.zeros(number, np.int64),
            score[kept],
            label[kept] >> self._bit & 1,
        )


def _mean_ndcg(rows: Rows) -> float:
    """Returns the mean over pages with a positive of their NDCG; ties share their gain."""
    order = np.lexsort((-rows.score, rows.page))
    page, label = rows.page[order], rows.label[order].astype(np.float64)
    score = rows.score[order]
    changes = np.flatnonzero(page[1:] != page[:-1]) + 1
    bounds = np.concatenate([[0], changes, [page.size]])
    values = []
    for start, end in zip(bounds[:-1], bounds[1:], strict=True):
        own = label[start:end]
        if not own.any():
            continue
        discount = 1.0 / np.log2(np.arange(own.size) + 2.0)
        _, tie = np.unique(-score[start:end], return_inverse=True)
        shared = np.bincount(tie, own) / np.bincount(tie)
        values.append(float(shared[tie] @ discount) / discount[: int(own.sum())].sum())
    return float(np.mean(values)) if values else float("nan")


VALUES: dict[str, Callable[[Rows], float]] = {
    "auc": lambda rows: page_metrics.auc(rows.label, rows.score),
    "gauc": lambda rows: page_metrics.grouped_auc(rows.label, rows.score, rows.user),
    "log_loss": lambda rows: page_metrics.log_loss(rows.label, rows.score),
    "calibration": lambda rows: page_metrics.calibration(rows.label, rows.score),
    "page_ndcg": _mean_ndcg,
    "candidates": lambda rows: float(rows.label.size),
    "positives": lambda rows: float(rows.label.sum()),
    "pages": lambda rows: float(np.unique(rows.page).size),
}


class ClickMetric(tfma.metrics.Metric):
    """One of `VALUES`, of one head.

    All metrics of a head share one combiner, which holds the rows: some 24 bytes for each
    candidate of a slice.
    """

    def __init__(self, value: str, head: str = SCORES, bit: int = 0, name: str = "") -> None:
        """Measures `value` of the scores of `head`, whose label is the bit `bit`."""
        super().__init__(
            tfma.metrics.merge_per_key_computations(_computations),
            name=name or value,
            value=value,
            head=head,
            bit=bit,
        )


register_metric(ClickMetric)


class _Combiner(beam.CombineFn):
    """Puts the rows of pages together."""

    def __init__(self, key: tfma.metrics.MetricKey) -> None:
        self._key = key

    def create_accumulator(self) -> list[Rows]:
        return []

    def add_input(self, accumulator: list[Rows], rows: Rows) -> list[Rows]:
        accumulator.append(rows)
        return accumulator if len(accumulator) < _PENDING else self.compact(accumulator)

    def merge_accumulators(self, accumulators: Iterable[list[Rows]]) -> list[Rows]:
        return self.compact([rows for parts in accumulators for rows in parts])

    def compact(self, accumulator: list[Rows]) -> list[Rows]:
        return [Rows.join(accumulator)]

    def extract_output(self, accumulator: list[Rows]) -> dict[tfma.metrics.MetricKey, Rows]:
        return {self._key: Rows.join(accumulator)}


def _computations(
    name: str, value: str, head: str, bit: int, model_name: str = "", output_name: str = ""
) -> list[Any]:
    del output_name
    # TFMA reports no key with a leading _
    source = tfma.metrics.MetricKey(f"_clicks:{head}", model_name=model_name)
    key = tfma.metrics.MetricKey(name, model_name=model_name)
    return [
        tfma.metrics.MetricComputation(
            keys=[source],
            preprocessors=[PagePreprocessor(head, bit, model_name)],
            combiner=_Combiner(source),
        ),
        tfma.metrics.DerivedMetricComputation(
            keys=[key], result=lambda metrics: {key: VALUES[value](metrics[source])}
        ),
    ]


def _of_model(value: Any, model_name: str) -> Any:
    """Returns what belongs to one model; TFMA nests by names only if there are many."""
    if model_name and isinstance(value, Mapping) and model_name in value:
        return value[model_name]
    return value


def _hash(user: bytes | str) -> int:
    """Returns 63 bits of a hash that is the same in every process."""
    import hashlib

    data = user if isinstance(user, bytes) else str(user).encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") >> 1
