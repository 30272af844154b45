"""Judges neighbour lists: a sample of them is counted again and compared."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import NamedTuple

import numpy as np

from serving.sources.config import ListCheckConfig
from serving.sources.neighbours import Neighbours
from tfx_pipeline.components.neighbour_builder.entities import Entities
from tfx_pipeline.components.neighbour_validator.recount import Recount
from tfx_pipeline.components.neighbour_validator.recount import recount
from tfx_pipeline.datasets.row_hash import hash_ids
from transforms.arrow import pa


def validate(
    directory: str | Path, files: Sequence[str], config: ListCheckConfig
) -> dict[str, Any]:
    """Counts the lists of some entities again and compares them.

    Args:
        directory: The neighbour lists.
        files: TFRecord files of the raw training timelines that they were counted in.
        config: What was to be counted, and bounds.

    Returns:
        The report: `blessed`, `reasons` when it is not, what `measure` says, and the bounds.

    Raises:
        FileNotFoundError: There are no neighbour lists.
        NeighboursIntegrityError: They are damaged.
    """
    lists = Neighbours.read(directory)
    entities = Entities(lists.entity.cast(pa.binary()), lists.events, newest=0)
    sample = draw(entities, config.validation_entities)
    measured = measure(lists, sample, recount(files, entities, sample, config), config)
    reasons = objections(measured, config)
    bounds = ("min_recall", "max_weight_error", "min_coverage")
    return {
        "blessed": not reasons,
        "reasons": reasons,
        **measured,
        **{name: getattr(config, name) for name in bounds},
    }


def draw(entities: Entities, number: int) -> np.ndarray:
    """Draws entities by hashes of their names: half of them by their events, half of them alike.

    An exponential waiting time over its weight is how often a draw without replacement takes
    the shortest ones (Efraimidis and Spirakis 2006).

    Returns:
        [<= number] int64, rows, ascending.
    """
    uniform = (hash_ids(entities.names) >> np.uint64(11)) * 2.0**-53
    waiting = -np.log1p(-uniform)
    by_events = np.argsort(waiting / np.maximum(entities.events, 1), kind="stable")
    popular = by_events[: number - number // 2]
    alike = np.argsort(waiting, kind="stable")
    alike = alike[~np.isin(alike, popular)][: number // 2]
    return np.sort(np.concatenate([popular, alike]))


def measure(
    lists: Neighbours, sample: np.ndarray, counted: Recount, config: ListCheckConfig
) -> dict[str, Any]:
    """Compares lists with their recount.

    Args:
        lists: The N lists.
        sample: [S] int64, rows of those that were counted again.
        counted: The recount.
        config: What was to be counted.

    Returns:
        `recall` (mean over the sample of how much of the recounted best neighbours a list
        holds; 1 where nobody has any), `weight_error` (the largest), `coverage` (share of the
        counted events whose entity has a neighbour), `other_counts` (entities whose events are
        not those that the lists say), `unknown_events` (counted events of no entity of the
        lists), `entities` (of the sample, with neighbours) and `cut` (those of them with more
        than `partners` partners).
    """
    root = np.sqrt(np.maximum(counted.events, 1) + config.damping)
    recalls, errors, cut = [], [0.0], 0
    for number, row in enumerate(sample):
        counts = slice(*counted.sums.indptr[number : number + 2])
        partners = counted.sums.indices[counts]
        again = _weights(counted.sums.data[counts], root[row] * root[partners], counted.rounding)
        held = slice(*lists.offsets[row : row + 2])
        neighbours, weights = lists.neighbour[held], lists.weight[held].astype(np.float64)
        _, here, there = np.intersect1d(partners, neighbours, return_indices=True)

        recalls.append(_recall(again, here, config.neighbours))
        sums = np.zeros(len(neighbours))  # a neighbour that is none weighs nothing
        sums[there] = counted.sums.data[counts][here]
        is_cut = len(partners) > config.partners
        same = _weights(sums, root[row] * root[neighbours], counted.rounding)
        errors.append(_error(weights, same, is_cut))
        cut += is_cut
    with_any = [recall for recall in recalls if recall is not None]
    listed = np.diff(lists.offsets) > 0
    events = int(counted.events.sum()) + counted.unknown_events
    return {
        "recall": float(np.mean(with_any)) if with_any else 1.0,
        "weight_error": max(errors),
        "coverage": int(counted.events[listed].sum()) / max(events, 1),
        "other_counts": int((counted.events != lists.events).sum()),
        "unknown_events": counted.unknown_events,
        "entities": len(with_any),
        "cut": cut,
    }


class _Weights(NamedTuple):
    """Recounted weights, and how far rounding alone may take a list's weights from them.

    Attributes:
        weight: [P] float64.
        rounding: [P] float64: half a step of float16, and that of the sums.
    """

    weight: np.ndarray
    rounding: np.ndarray


def _weights(sums: np.ndarray, root: np.ndarray, rounding: float) -> _Weights:
    weight = sums / root
    step = np.spacing(weight.astype(np.float16)).astype(np.float64)
    return _Weights(weight, step / 2 + rounding / root)


def _recall(again: _Weights, held: np.ndarray, most: int) -> float | None:
    """Returns how much of the best `most` is held; None where there is nothing to hold.

    Whatever ties with the last of the best is as good, and what rounding may take is not asked.
    """
    weight, rounding = again
    lowest = np.sort((weight - rounding)[weight > rounding])[-most:]
    if not len(lowest):
        return None
    good = (weight + rounding)[held] >= lowest[0]
    return min(int(good.sum()), len(lowest)) / len(lowest)


def _error(weights: np.ndarray, again: _Weights, is_cut: bool) -> float:
    """Returns the largest difference of weights, over the larger one and besides rounding.

    Args:
        weights: [n] float64, of a list.
        again: Their recount.
        is_cut: The list may lack what single files cut off, so that its weights may be lower.
    """
    difference = weights - again.weight
    size = difference if is_cut else np.abs(difference)
    relative = (size - again.rounding) / np.maximum(weights, again.weight)
    return float(relative.max(initial=0.0))


def objections(measured: Mapping[str, Any], config: ListCheckConfig) -> list[str]:
    """Says what keeps lists from being blessed; nothing when they are good."""
    reasons = []
    if measured["other_counts"] or measured["unknown_events"]:
        reasons.append(
            f"{measured['other_counts']} entities have other numbers of events than their lists "
            f"say, and {measured['unknown_events']} events are of entities without a list: they "
            "were counted in other timelines, or with other settings"
        )
    if not measured["recall"] >= config.min_recall:
        reasons.append(
            f"recall of the recounted neighbours is {measured['recall']:.4f}, below min_recall "
            f"({config.min_recall}); {measured['cut']} of {measured['entities']} entities have "
            f"more than {config.partners} partners: raise `partners`, or lower `neighbours`"
        )
    if not measured["weight_error"] <= config.max_weight_error:
        reasons.append(
            f"a weight differs from its recount by {measured['weight_error']:.2%}, above "
            f"max_weight_error ({config.max_weight_error})"
        )
    if not measured["coverage"] >= config.min_coverage:
        reasons.append(
            f"{measured['coverage']:.2%} of the events are of an entity with neighbours, below "
            f"min_coverage ({config.min_coverage}): raise `window` or `cooccurrence_events`, or "
            "count more `event_types`"
        )
    return reasons
