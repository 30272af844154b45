"""Tasks that ask for items alone: their categories, demand, relations."""

from __future__ import annotations

import numpy as np

from tfx_pipeline.datasets.division import CATEGORIES
from tfx_pipeline.evaluation.embeddings import metrics
from tfx_pipeline.evaluation.embeddings.log import DividedLog
from tfx_pipeline.evaluation.embeddings.probes import probed
from tfx_pipeline.evaluation.embeddings.probes import split_rows
from tfx_pipeline.evaluation.embeddings.task import Aligned
from tfx_pipeline.evaluation.embeddings.task import Readings
from tfx_pipeline.evaluation.embeddings.task import Task
from tfx_pipeline.evaluation.embeddings.task import unit

MOST_PAIRS = 10_000
LEAST_PAIRS = 100


def _no_categories(log: DividedLog) -> str:
    if log.categories.shape[1] < 2:
        return "the log has no two categories that enough items have"
    if CATEGORIES not in log.hidden:
        return "the known log has the categories, so embeddings may have read them"
    return split_rows(log.items, np.flatnonzero(log.categories.any(axis=1))).reason


def predict_categories(log: DividedLog, embeddings: Aligned) -> Readings:
    """Predicts the categories of an item: micro-F1.

    As many of the highest predictions count as categories as the labelled items of the probe
    have in the mean.
    """
    labels = log.categories
    split = split_rows(log.items, np.flatnonzero(labels.any(axis=1)))
    weight, truth = metrics.draws(split.test), labels[split.test]
    readings = {}
    inputs, target = embeddings.items.__getitem__, labels.astype(np.float32)
    for probe, found in probed(split, inputs, target):
        budget = split.small if probe.endswith("5%") else split.train
        count = round(labels[budget].sum(axis=1).mean() * len(found))
        bound = np.sort(found, axis=None)[-min(count, found.size)]
        readings[f"micro_f1/{probe}"] = metrics.micro_f1(truth, found >= bound, weight)
    return readings


def _no_demand(log: DividedLog) -> str:
    return split_rows(log.items).reason


def predict_demand(log: DividedLog, embeddings: Aligned) -> Readings:
    """Predicts how many later events an item has: Spearman correlation."""
    demand = np.bincount(log.later.item, minlength=len(log.items))
    split = split_rows(log.items)
    weight = metrics.draws(split.test)
    target = np.log1p(demand)[:, None].astype(np.float32)
    inputs = embeddings.items.__getitem__
    return {
        f"spearman/{probe}": metrics.spearman(demand[split.test], found[:, 0], weight)
        for probe, found in probed(split, inputs, target)
    }


def related_pairs(log: DividedLog) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns pairs of items that later follow each other, and as many that do not.

    The second item of a pair without relation is that of another pair, so that how often an
    item comes says nothing. Pairs of one item are left out, and those without relation that
    are somewhere else related.

    Returns:
        pairs: [n, 2] items.
        label: [n] bool, related.
        user: [n] whose pair it is.
    """
    events = log.later
    follows = (np.diff(events.user) == 0) & (np.diff(events.item) != 0)
    rows = np.flatnonzero(follows)
    rng = np.random.default_rng(0)
    if len(rows) > MOST_PAIRS:
        rows = np.sort(rng.choice(rows, MOST_PAIRS, replace=False))
    one, other, user = events.item[rows], events.item[rows + 1], events.user[rows]
    everywhere = np.flatnonzero(follows)
    low, high = (f(events.item[everywhere], events.item[everywhere + 1]) for f in _BOUNDS)
    related = np.unique(low * len(log.items) + high)
    drawn = rng.permutation(other)
    low, high = (f(one, drawn) for f in _BOUNDS)
    unrelated = (one != drawn) & ~np.isin(low * len(log.items) + high, related)
    pairs = np.concatenate([np.stack([one, other], 1), np.stack([one, drawn], 1)[unrelated]])
    label = np.repeat([True, False], [len(rows), int(unrelated.sum())])
    return pairs, label, np.concatenate([user, user[unrelated]])


_BOUNDS = (np.minimum, np.maximum)


def _no_pairs(log: DividedLog) -> str:
    _, label, _ = related_pairs(log)
    least = min(int(label.sum()), int((~label).sum()))
    return "" if least >= LEAST_PAIRS else f"only {least} pairs of items follow each other later"


def relate(log: DividedLog, embeddings: Aligned) -> Readings:
    """Tells items that follow each other later by the cosine of their embeddings: AUC."""
    pairs, label, user = related_pairs(log)
    vectors = unit(embeddings.items)
    cosine = np.einsum("nd,nd->n", vectors[pairs[:, 0]], vectors[pairs[:, 1]])
    return {"auc": metrics.auc(label, cosine, metrics.draws(user))}


ITEM_TASKS = (
    Task(
        name="item_category",
        kind="item",
        metric="micro-F1",
        about="categories of items",
        missing=_no_categories,
        measure=predict_categories,
    ),
    Task(
        name="item_demand",
        kind="item",
        metric="Spearman",
        about="later events of items",
        missing=_no_demand,
        measure=predict_demand,
    ),
    Task(
        name="item_relatedness",
        kind="item",
        metric="AUC",
        about="items that later follow each other, from items that do not",
        missing=_no_pairs,
        measure=relate,
    ),
)
