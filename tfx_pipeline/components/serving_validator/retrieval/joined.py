"""Scores and the best candidates of a servable that joins several sources, in NumPy.

Nothing of the servable's graph is used: neighbours are looked up by name, vectors by row of
the index, and the query embeddings are those of the Trainer's towers. So a wrong row, ids that
changed places, other towers, or lists and weights of another run show in the scores.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serving.client import Recommendation
from serving.client import Request
from serving.index import files
from serving.index.config import EVERY
from serving.sources import features as f
from serving.sources import servable_sources
from serving.sources.combination import SOURCES_DIR
from serving.sources.neighbours import Neighbours
from serving.sources.scoring import score
from tfx_pipeline.components.serving_validator.release_candidate import ReleaseCandidateError
from tfx_pipeline.components.serving_validator.retrieval.reference import ExactSearch
from transforms.arrow import pa
from transforms.availability import not_yet_available

Floats = npt.NDArray[np.float64]
_HOURS, _DAYS = 10_000.0, 1_000.0  # the longest that features tell apart


class JoinedExactSearch(ExactSearch):
    """Does what `ExactSearch` does for a servable with several sources.

    Args:
        servable: The release candidate, with its index and its sources.
        queries: What `embed` returns for the requests.
        requests: B requests.

    Raises:
        ReleaseCandidateError: The release candidate has no sound index or sources.
    """

    def __init__(
        self,
        servable: Path,
        queries: Mapping[str, npt.NDArray[np.float32]],
        requests: Sequence[Request],
    ) -> None:
        super().__init__(servable, queries)
        folder = servable / SOURCES_DIR
        try:
            sources = servable_sources.read(folder, folder, self._index)
        except (OSError, ValueError) as error:
            raise ReleaseCandidateError(f"its sources cannot be read ({error})") from error
        self._requests = requests
        self._combination = sources.combination
        union = self._combination.settings.union
        lists = sources.neighbours  # of E entities
        at = lists.rows(self._index.candidates["id"].combine_chunks())  # [N]
        self._row_of = np.full(lists.size, -1)  # [E], the candidate that an entity is
        self._row_of[at[at >= 0]] = np.flatnonzero(at >= 0)
        self._near = _among(lists, self._row_of >= 0, union.neighbours_per_event)
        events = np.zeros(len(at), np.int64)
        events[at >= 0] = lists.events[at[at >= 0]]
        self._events = events  # [N]
        self._popular = np.argsort(-events, kind="stable")[: union.popularity]
        dates = self._index.available_from()
        self._dates = np.full(len(at), files.ALWAYS) if dates is None else dates  # [N]
        dated = np.flatnonzero(self._dates != files.ALWAYS)
        self._dated = dated[np.argsort(self._dates[dated], kind="stable")]  # the oldest first
        names = sorted({event.id for request in requests for event in request.history})
        found = lists.rows(pa.array(names, pa.string()))
        self._listed = dict(zip(names, found.tolist(), strict=True))  # rows of the lists
        self._weights = [self._weigh(request) for request in requests]

    def score(self, answers: Sequence[Recommendation]) -> list[npt.NDArray[np.float32]]:
        """Scores recommended entities again; see `ExactSearch.score`."""
        found = []
        for i, answer in enumerate(answers):
            known = np.array([name in self._rows for name in answer.ids], bool)
            rows = np.array([self._rows.get(name, 0) for name in answer.ids], np.int64)
            scores = np.where(known, self._joined_scores(i, rows), np.nan)
            found.append(scores.astype(np.float32))
        return found

    def recall(self, hidden: Sequence[Collection[str]], answers: Sequence[Recommendation]) -> float:
        """Compares answers with the best of the exact union; see `ExactSearch.recall`."""
        found = best = 0
        for i, (names, answer) in enumerate(zip(hidden, answers, strict=True)):
            rows = self._union(i, {self._rows[name] for name in names if name in self._rows})
            exact = np.sort(self._joined_scores(i, rows))[::-1][: len(answer.ids)]
            if exact.size:
                margin = 1e-4 * max(1.0, abs(float(exact[-1])))
                found += min(exact.size, int((np.array(answer.scores) >= exact[-1] - margin).sum()))
                best += exact.size
        return found / best if best else 1.0

    def _union(self, i: int, hidden: set[int]) -> npt.NDArray[np.int64]:
        """Returns the rows that the sources bring together for request i."""
        union = self._combination.settings.union
        allowed = ~not_yet_available(self._dates, self._moment(i))  # [N]
        allowed[list(hidden)] = False
        tower = np.where(allowed, self._tower(i), -np.inf)
        near, weights = self._weights[i]
        near, weight = near[allowed[near]], weights[allowed[near], 0]
        kept = min(self._results, len(allowed))
        dated = self._dated[~not_yet_available(self._dates[self._dated], self._moment(i))]
        own = [self._rows.get(event.id, -1) for event in self._requests[i].history]
        proposed = [
            np.argsort(-tower, kind="stable")[:kept],
            near[np.argsort(-weight, kind="stable")[: union.neighbours]],
            np.array([row for row in own[-union.repeats :] if row >= 0], np.int64),
            self._popular,
            dated[len(dated) - min(len(dated), union.freshness) :],
        ]
        rows = np.unique(np.concatenate(proposed))
        return rows[allowed[rows]]

    @property
    def _results(self) -> int:
        """Results of the tower: as many as the servable returns, or as the union wants."""
        return max(self._combination.settings.union.tower, int(self._description["k"]))

    def _moment(self, i: int) -> int:
        given = self._requests[i].request_time
        return time.time_ns() // 1000 if given is None else given

    def _tower(self, i: int) -> npt.NDArray[np.float32]:
        """Returns the tower's scores of all candidates: [N]."""
        return self._scores(self._everything, i)

    def _weigh(self, request: Request) -> tuple[npt.NDArray[np.int64], Floats]:
        """Weighs a request's neighbours, by all its newest events and by the last.

        Returns:
            [n] rows of candidates, ascending, and their weights, [n, 2].
        """
        settings = self._combination.settings
        types = settings.event_types
        counted = [e.id for e in request.history if EVERY in types or e.event in types]
        history = np.array([self._listed[name] for name in counted], np.int64)
        rows, weights = score(self._near, history, settings)
        last, of_last = score(self._near, history[-1:], settings)  # some of the same rows
        found = np.stack([weights, np.zeros(len(rows))], axis=1)
        found[np.searchsorted(rows, last), 1] = of_last
        order = np.argsort(self._row_of[rows])
        return self._row_of[rows][order], found[order]

    def _joined_scores(self, i: int, rows: npt.NDArray[np.int64]) -> Floats:
        """Scores candidates with request i: [n] rows -> [n]."""
        weights = self._combination.weights
        length = len(self._requests[i].history)
        bucket = int(np.searchsorted(f.BUCKETS, length, side="right")) - 1
        columns = self._features(i, rows)
        given = {name: weights[bucket, at] for at, name in enumerate(f.FEATURES)}
        return np.sum([given[name] * columns[name] for name in f.FEATURES], axis=0)

    def _features(self, i: int, rows: npt.NDArray[np.int64]) -> dict[str, Floats]:
        """Returns the features of candidates for request i by name, each [n]."""
        near, weights = self._weights[i]
        total = weights.sum(axis=0)
        share = np.zeros((self._index.size, 2))
        share[near] = weights / np.where(total > 0, total, 1.0)
        share = share[rows]
        moment = self._moment(i)
        dates = self._dates[rows]
        known = (dates != files.ALWAYS) & (moment > 0)
        days = np.where(known, moment - np.where(known, dates, 0), 0) / 8.64e10
        fresh = np.log1p(_DAYS) - np.log1p(np.minimum(days, _DAYS))
        repeats = self._repeats(i, rows, moment)
        new = repeats[f.REPEAT_COUNT] == 0.0
        strong, of_last = np.log1p(share / 1e-2).T
        return {
            f.TOWER: self._scores(self._held(rows), i).astype(np.float64),
            f.NEIGHBOURS: np.log1p(share[:, 0] / 1e-4),
            f.NEIGHBOURS_STRONG: np.where(new, strong, 0.0),
            f.NEIGHBOURS_OF_LAST: np.where(new, of_last, 0.0),
            f.POPULARITY: np.log1p(self._events[rows]),
            f.UNSEEN: (self._events[rows] == 0).astype(np.float64),
            f.FRESHNESS: np.where(known & (days >= 0), fresh, 0.0),
            **repeats,
            f.REPEAT_NEIGHBOURS: np.where(new, 0.0, strong),
            f.REPEAT_OF_LAST: np.where(new, 0.0, of_last),
        }

    def _repeats(self, i: int, rows: npt.NDArray[np.int64], moment: int) -> dict[str, Floats]:
        """Returns the features of repeats: [n] rows -> [n] each."""
        count = self._combination.settings.union.repeats
        newest = self._requests[i].history[::-1][:count]
        own = np.array([self._entity(event.id) for event in newest], np.int64)
        times = np.array([event.timestamp for event in newest], np.int64)
        named = own[own != -1]
        habit = 1.0 - len(set(named.tolist())) / max(1, len(named))
        found = {name: np.zeros(len(rows)) for name in f.FEATURES if name.startswith("repeat_")}
        for at, row in enumerate(rows):
            steps = np.flatnonzero(own == row)
            if not steps.size:
                continue
            found[f.REPEAT_COUNT][at] = np.log1p(steps.size)
            found[f.REPEAT_DECAYED][at] = np.log1p(100.0 * (0.6**steps).sum())
            found[f.REPEAT_HABIT][at] = habit
            hours = min(max(moment - times[steps[0]], 0) / 3.6e9, _HOURS)
            if moment > 0:
                found[f.REPEAT_RECENCY][at] = np.log1p(_HOURS) - np.log1p(hours)
            last = max(step for step in f.STEPS if step <= steps[0])
            found[f"repeat_{last}_back"][at] = 1.0
        return found

    def _entity(self, name: str) -> int:
        """Returns a number for an entity: its row, or below -1 for one that only has neighbours."""
        if name in self._rows:
            return self._rows[name]
        row = self._listed[name]
        if row < 0 or self._near.offsets[row] == self._near.offsets[row + 1]:
            return -1
        return -2 - row


def _among(lists: Neighbours, candidates: npt.NDArray[np.bool_], most: int) -> Neighbours:
    """Keeps the neighbours that are candidates, the best `most` of an entity: [E] bool."""
    kept = candidates[lists.neighbour]  # [V]
    before = np.concatenate([[0], np.cumsum(kept)])  # [V + 1]
    begin = np.repeat(lists.offsets[:-1], np.diff(lists.offsets))  # [V], of each one's list
    kept &= before[:-1] - before[begin] < most
    offsets = np.concatenate([[0], np.cumsum(kept)])[lists.offsets]
    return dataclasses.replace(
        lists, offsets=offsets, neighbour=lists.neighbour[kept], weight=lists.weight[kept]
    )
