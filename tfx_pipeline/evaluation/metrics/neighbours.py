"""Recommendations of the history's neighbours, for the metrics beside the model's."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow_model_analysis as tfma

from serving.sources.config import ScoringConfig
from serving.sources.neighbours import Neighbours
from serving.sources.scoring import score
from tfx_pipeline.evaluation.metrics.extracts import events_of
from tfx_pipeline.evaluation.metrics.extracts import moment_of
from tfx_pipeline.evaluation.metrics.extracts import targets_of
from tfx_pipeline.evaluation.metrics.ranking_sums import Outcome
from transforms.arrow import pa
from transforms.arrow import pc
from transforms.arrow import read_table
from transforms.availability import not_yet_available


class NeighboursPreprocessor(tfma.metrics.Preprocessor):
    """Finds the ranks of the targets among the neighbours of the history.

    What is no candidate, what the user has seen and what is not available yet is left out,
    as the servable leaves it out. An entity without a score is not recommended, and of equal
    scores the first name ranks first.

    Args:
        neighbours: Directory of neighbour lists.
        candidates: `candidates.parquet` of the index.
        scoring: A `ScoringConfig` as JSON.
        exclude_seen: Event types whose entities are left out; `*` is all.
        model_name: The model, where several are evaluated; the labels are its.
        output_name: Its output, where it has several.
    """

    def __init__(
        self,
        neighbours: str,
        candidates: str,
        scoring: str,
        exclude_seen: Sequence[str],
        model_name: str,
        output_name: str,
    ) -> None:
        super().__init__(name=f"neighbours:{model_name}:{output_name}")
        self._files = (neighbours, candidates)
        self._scoring = scoring
        self._exclude_seen = exclude_seen
        self._names = (model_name, output_name)

    def process(self, extracts: dict[str, Any]) -> Iterator[Outcome]:
        """Yields one `Outcome`."""
        targets = targets_of(extracts, self._names)
        lists, row_of, available_from = _read(*self._files)
        read = extracts[tfma.FEATURES_KEY]
        counted = events_of(read, lists.info["settings"]["event_types"])
        history = np.array([row_of.get(name, -1) for name in counted], np.int64)
        rows, scores = score(lists, history, ScoringConfig.model_validate_json(self._scoring))
        seen = [row_of[name] for name in events_of(read, self._exclude_seen) if name in row_of]
        hidden = np.isin(rows, seen) | (available_from[rows] == _NEVER)
        hidden |= not_yet_available(available_from[rows], moment_of(read))
        ranked = rows[~hidden][np.argsort(-scores[~hidden], kind="stable")]
        wanted = [row_of[name] for name in targets if name in row_of]
        ranks = np.flatnonzero(np.isin(ranked, wanted))
        yield Outcome(tuple(ranks.tolist()), len(targets), 0)


_NEVER = np.iinfo(np.int64).max  # `available_from` of what is no candidate


@lru_cache(maxsize=1)
def _read(directory: str, candidates: str) -> tuple[Neighbours, dict[bytes, int], np.ndarray]:
    """Returns the lists, the row of each entity, and [N] int64, from when each is available."""
    lists = Neighbours.read(directory)
    table = read_table(candidates, columns=["id", "available_from"])
    at = pc.index_in(lists.entity, value_set=table["id"].combine_chunks())
    moments = pc.max_element_wise(table["available_from"].combine_chunks(), 0)
    known = np.asarray(pc.is_valid(at))
    available_from = np.where(known, np.asarray(pc.fill_null(moments.take(at), 0)), _NEVER)
    names = lists.entity.cast(pa.binary()).to_pylist()
    return lists, {name: row for row, name in enumerate(names)}, available_from
