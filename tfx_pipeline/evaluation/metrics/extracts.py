"""From TFMA's extracts of one user to what the metrics add up."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow_model_analysis as tfma

from serving.index.config import EVERY
from tfx_pipeline.evaluation.metrics.ranking_sums import Outcome
from transforms import features
from transforms.arrow import read_table
from transforms.availability import not_yet_available

CLASSES = "classes"


class Listed(NamedTuple):
    """The beginning of one user's recommended list.

    Attributes:
        ids: What is recommended, best first, without the empty tail.
        seen: How many of them the user's history has.
    """

    ids: list[bytes]
    seen: int


class OutcomePreprocessor(tfma.metrics.Preprocessor):
    """Finds the ranks of the targets in the recommended list.

    Args:
        model_name: The model, where several are evaluated.
        output_name: Its output, where it has several.
        with_repeats: Whether to look the targets up in the history.
    """

    def __init__(
        self, model_name: str = "", output_name: str = "", with_repeats: bool = True
    ) -> None:
        super().__init__(name=f"outcome:{model_name}:{output_name}:{with_repeats}")
        self._names = (model_name, output_name)
        self._with_repeats = with_repeats

    def process(self, extracts: dict[str, Any]) -> Iterator[Outcome]:
        """Yields one `Outcome`."""
        targets = targets_of(extracts, self._names)
        if not targets:
            yield Outcome((), 0, 0)
            return
        classes = _classes(extracts, self._names)
        rank_of = {name: rank for rank, name in reversed(list(enumerate(classes)))}
        history = _history(extracts) if self._with_repeats else set()
        yield Outcome(
            ranks=tuple(sorted(rank_of[target] for target in targets if target in rank_of)),
            targets=len(targets),
            repeats=sum(target in history for target in targets),
        )


class MostPopularPreprocessor(tfma.metrics.Preprocessor):
    """Finds the ranks of the targets among the most popular candidates.

    What the user has seen and what is not available yet is left out, as the servable
    leaves it out. It reads no further than it has to, so that a user does not cost
    the whole catalogue.

    Args:
        popular: Parquet file of candidates; see `popularity.write_most_popular`.
        depth: Length of the list.
        exclude_seen: Event types whose entities are left out; `*` is all.
        model_name: The model, where several are evaluated; the labels are its.
        output_name: Its output, where it has several.
    """

    def __init__(
        self,
        popular: str,
        depth: int,
        exclude_seen: Sequence[str],
        model_name: str,
        output_name: str,
    ) -> None:
        super().__init__(name=f"most_popular:{depth}:{model_name}:{output_name}")
        self._popular = popular
        self._depth = depth
        self._exclude_seen = exclude_seen
        self._names = (model_name, output_name)

    def process(self, extracts: dict[str, Any]) -> Iterator[Outcome]:
        """Yields one `Outcome`."""
        targets = targets_of(extracts, self._names)
        rank_of, available_from = _read_most_popular(self._popular)
        read = extracts[tfma.FEATURES_KEY]
        names = events_of(read, self._exclude_seen)
        seen = np.array([rank_of[name] for name in names if name in rank_of], np.int64)
        listed = self._first_shown(available_from, seen, moment_of(read))
        wanted = [rank_of[target] for target in targets if target in rank_of]
        ranks = np.flatnonzero(np.isin(listed, wanted))
        yield Outcome(tuple(ranks.tolist()), len(targets), 0)

    def _first_shown(self, available_from: np.ndarray, seen: np.ndarray, moment: int) -> np.ndarray:
        """Returns the first candidates that are not hidden, at most `depth`: [n] int64."""
        end = self._depth + len(seen)
        while True:
            hidden = not_yet_available(available_from[:end], moment)
            hidden[seen[seen < end]] = True
            shown = np.flatnonzero(~hidden)
            if len(shown) >= self._depth or end >= len(available_from):
                return shown[: self._depth]
            end *= 4


class ListedPreprocessor(tfma.metrics.Preprocessor):
    """Takes the first k recommended ids.

    Args:
        k: How many.
        model_name: The model, where several are evaluated.
        output_name: Its output, where it has several.
    """

    def __init__(self, k: int, model_name: str = "", output_name: str = "") -> None:
        super().__init__(name=f"listed:{k}:{model_name}:{output_name}")
        self._k = k
        self._names = (model_name, output_name)

    def process(self, extracts: dict[str, Any]) -> Iterator[Listed]:
        """Yields one `Listed`."""
        ids = [name for name in _classes(extracts, self._names)[: self._k] if name]
        history = _history(extracts)
        yield Listed(ids, sum(name in history for name in ids))


def targets_of(extracts: Mapping[str, Any], names: tuple[str, str]) -> set[bytes]:
    """Returns the targets of one user for a model and its output."""
    return set(_ids(_of_model(extracts[tfma.LABELS_KEY], names)))


def moment_of(read: Mapping[str, Any]) -> int:
    """Returns when one user asks, microseconds; 0 where nobody knows."""
    moment: int = next(iter(_values(read.get(features.REQUEST_TIME))), 0)
    return moment


def events_of(read: Mapping[str, Any], types: Sequence[str]) -> list[bytes]:
    """Returns the entities of one user's events of some types, oldest first; `*` is all."""
    entities = _values(read.get(features.EVENT_ENTITY))
    if EVERY in types:
        return entities
    wanted = {name.encode() for name in types}
    kinds = _values(read.get(features.EVENT_TYPE))
    return [entity for entity, kind in zip(entities, kinds, strict=True) if kind in wanted]


def _classes(extracts: Mapping[str, Any], names: tuple[str, str]) -> list[bytes]:
    """Returns the recommended list, best first; its tail may be empty strings."""
    output = _of_model(extracts[tfma.PREDICTIONS_KEY], names)
    if not isinstance(output, Mapping) or CLASSES not in output:
        found = sorted(output) if isinstance(output, Mapping) else type(output).__name__
        raise ValueError(
            "A retrieval model answers with `classes` [B, k] and `scores` [B, k]; this one "
            f"answered with {found}. Evaluate its signature `serving_default`."
        )
    classes: list[bytes] = np.ravel(output[CLASSES]).tolist()
    return classes


def _history(extracts: Mapping[str, Any]) -> set[bytes]:
    """Returns the entities of the user's history."""
    return set(_ids(extracts[tfma.FEATURES_KEY].get(features.EVENT_ENTITY)))


def _ids(values: Any) -> list[bytes]:
    """Returns the ids of one user as a list, without empty ones; None is an empty list."""
    return [name for name in _values(values) if name]


def _values(values: Any) -> list[Any]:
    """Returns the values of a feature of one user; none where it is missing."""
    return [] if values is None else np.ravel(values).tolist()


@lru_cache(maxsize=2)
def _read_most_popular(path: str) -> tuple[dict[bytes, int], np.ndarray]:
    """Returns the rank of each candidate, and [n] int64, from when each is available."""
    table = read_table(path)
    rank_of = {name: rank for rank, name in enumerate(table["entity"].to_pylist())}
    return rank_of, table["available_from"].to_numpy()


def _of_model(value: Any, names: tuple[str, str]) -> Any:
    """Returns what belongs to one model and output; TFMA nests by names only if there are many."""
    for name in names:
        if isinstance(value, Mapping) and name in value:
            value = value[name]
    return value
