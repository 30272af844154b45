"""An independent computation of every metric of click prediction, by the definitions."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from itertools import groupby

from tests.tfx_pipeline.evaluation.page_views import PageView

Scored = tuple[PageView, Sequence[float]]  # a page and the scores of its candidates
Row = tuple[str, int, float, int]  # user, page, score, label


def rows_of(
    pages: Iterable[Scored], bit: int, keep: Callable[[PageView, int], bool] = lambda *_: True
) -> list[Row]:
    """The rows of a head, of the candidates at the places that are kept."""
    return [
        (page.user, number, float(scores[place]), page.labels[place] >> bit & 1)
        for number, (page, scores) in enumerate(pages)
        for place in range(len(page.candidates))
        if keep(page, place)
    ]


def expected(rows: Sequence[Row], end: str = "") -> dict[str, float]:
    """Every metric of a head that has a value; their names end on `end`."""
    pairs = [(score, label) for _, _, score, label in rows]
    positives = sum(label for _, label in pairs)
    metrics = {
        "auc": auc(pairs),
        "gauc": gauc(rows),
        "page_ndcg": ndcg(rows),
        "log_loss": -sum(_log_likelihood(*pair) for pair in pairs) / len(pairs),
        "calibration": sum(score for score, _ in pairs) / positives if positives else None,
        "positives": float(positives),
    }
    return {f"{name}{end}": value for name, value in metrics.items() if value is not None}


def counts(rows: Sequence[Row]) -> dict[str, float]:
    """How many candidates, pages and users there are."""
    return {
        "users": float(len({user for user, *_ in rows})),
        "pages": float(len({page for _, page, *_ in rows})),
        "candidates": float(len(rows)),
    }


def auc(pairs: Sequence[tuple[float, int]]) -> float | None:
    """The share of pairs of a positive and a negative in the right order, ties half."""
    positives = [score for score, label in pairs if label]
    negatives = [score for score, label in pairs if not label]
    if not positives or not negatives:
        return None
    won = sum((p > n) + (p == n) / 2 for p in positives for n in negatives)
    return won / (len(positives) * len(negatives))


def gauc(rows: Sequence[Row]) -> float | None:
    """The mean of the users' AUC, weighted by their rows."""
    total, weight = 0.0, 0
    for _, group in groupby(sorted(rows, key=lambda row: row[0]), key=lambda row: row[0]):
        pairs = [(score, label) for _, _, score, label in group]
        value = auc(pairs)
        if value is not None:
            total += value * len(pairs)
            weight += len(pairs)
    return total / weight if weight else None


def ndcg(rows: Sequence[Row]) -> float | None:
    """The mean over pages with a positive; candidates with equal scores share their gain."""
    values = []
    for _, group in groupby(rows, key=lambda row: row[1]):
        pairs = sorted([(-score, label) for _, _, score, label in group])
        number = sum(label for _, label in pairs)
        if not number:
            continue
        gain = 0.0
        for rank, (score, _) in enumerate(pairs):
            equal = [label for other, label in pairs if other == score]
            gain += sum(equal) / len(equal) / math.log2(rank + 2)
        values.append(gain / sum(1 / math.log2(rank + 2) for rank in range(number)))
    return sum(values) / len(values) if values else None


def _log_likelihood(score: float, label: int) -> float:
    p = min(max(score, 1e-7), 1 - 1e-7)
    return math.log(p) if label else math.log(1 - p)
