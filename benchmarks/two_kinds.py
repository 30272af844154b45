"""Users with two kinds of entities: what is learned from, and how a ranking is measured."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import Any
from typing import Protocol

import numpy as np
from scipy import sparse

_AT_ONCE = 512  # users
# Scores all candidates for users, [B] int64 -> [B, candidates] float32.
Scorer = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class TwoKinds:
    """Edges of users to candidates and to entities of another kind, both 0 or 1.

    Attributes:
        candidates: [users, C], of the training part.
        others: [users, O].
        shows: [C, O], entities that a candidate is linked to; None where there are no links.
        described: [C + O, words], what the catalogue says of each entity; None for nothing.
        seconds: [users, C + O], when each edge is, above 0; None where there are no times.
        now: When users are asked for, where there are times.
    """

    candidates: sparse.csr_matrix
    others: sparse.csr_matrix
    shows: sparse.csr_matrix | None = None
    described: sparse.csr_matrix | None = None
    seconds: sparse.csr_matrix | None = None
    now: float = 0.0

    def with_shuffled_others(self, seed: int) -> TwoKinds:
        """Returns the same with each user's others given to another user: a control."""
        order = np.random.default_rng(seed).permutation(self.others.shape[0])
        seconds = self.seconds
        if seconds is not None:
            size = self.candidates.shape[1]
            seconds = sparse.hstack([seconds[:, :size], seconds[order][:, size:]]).tocsr()
        return replace(self, others=self.others[order], seconds=seconds)

    def without_others(self) -> TwoKinds:
        """Returns the same without an edge to the other kind."""
        others = sparse.csr_matrix(self.others.shape, dtype=np.float32)
        seconds = self.seconds
        if seconds is not None:
            seconds = sparse.hstack([seconds[:, : self.candidates.shape[1]], others]).tocsr()
        return replace(self, others=others, seconds=seconds)


@dataclass(frozen=True)
class Task:
    """What is learned, and what is held out of it.

    Attributes:
        data: The training part.
        held_out: [users, C] of `tune`, on which settings are chosen, and of `test`.
        few: Users with at most so many candidates in the training part are a slice.
    """

    data: TwoKinds
    held_out: Mapping[str, sparse.csr_matrix]
    few: int


class Learned(Protocol):
    """A model that is trained epoch by epoch."""

    def train_epoch(self) -> float:
        """Trains on every edge to a candidate once, and returns the mean loss."""

    def scorer(self) -> Scorer:
        """Returns what scores candidates with the model as it is now."""


def measure(
    scorer: Scorer,
    seen: sparse.csr_matrix,
    held_out: sparse.csr_matrix,
    k: int = 20,
    few: int | None = None,
) -> dict[str, float]:
    """Ranks all candidates for every user with a held-out one, those seen in training excluded.

        recall = hits / held-out,   hr = 1 with a hit
        ndcg   = sum over hits of 1 / log2(rank + 1) / the same of min(k, held-out) hits at the top
        auc    = share of the other candidates that a held-out one is above, ties as a half

    AUC as papers report it, of one held-out candidate beside 99 others that are drawn evenly, is an
    estimate of this one: its mean over the draw.

    Args:
        scorer: The model.
        seen: [users, C].
        held_out: [users, C].
        k: Length of the list.
        few: Users with at most so many seen ones are measured apart, too, as `few_..`.

    Returns:
        `recall@k`, `hr@k`, `ndcg@k` and `auc`, means over users.
    """
    users = np.flatnonzero(np.diff(held_out.indptr))
    parts = [
        _measure_users(scorer, users[first : first + _AT_ONCE], seen, held_out, k)
        for first in range(0, len(users), _AT_ONCE)
    ]
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    means = {name: float(np.mean(value)) for name, value in values.items()}
    is_few = np.diff(seen.indptr)[users] <= (-1 if few is None else few)
    if is_few.any():
        means |= {f"few_{name}": float(np.mean(value[is_few])) for name, value in values.items()}
    return means


def _measure_users(
    scorer: Scorer, users: np.ndarray, seen: sparse.csr_matrix, held_out: sparse.csr_matrix, k: int
) -> dict[str, np.ndarray]:
    """Measures each of some users, [B]."""
    scores = np.array(scorer(users), np.float32)
    scores[seen[users].nonzero()] = -np.inf
    rows, columns = held_out[users].nonzero()  # [P]
    number = np.bincount(rows, minlength=len(users))  # [B], at least 1
    gain = 1.0 / np.log2(np.arange(2, k + 2))
    own = scores[rows, columns]
    place, below = np.empty(len(rows), np.int64), np.empty(len(rows))
    for pair, (row, column) in enumerate(zip(rows, columns, strict=True)):
        equal = np.flatnonzero(scores[row] == own[pair])
        above = int(np.count_nonzero(scores[row] > own[pair]))
        place[pair] = above + np.searchsorted(equal, column)  # earlier rows first among equals
        wanted = own[rows == row] if number[row] > 1 else own[pair : pair + 1]
        negatives_above = above - np.count_nonzero(wanted > own[pair])
        negatives_equal = len(equal) - np.count_nonzero(wanted == own[pair])
        below[pair] = negatives_above + negatives_equal / 2
    negatives = scores.shape[1] - np.diff(seen.indptr)[users] - number
    hits = place < k
    gains = np.where(hits, gain[np.minimum(place, k - 1)], 0.0)
    found = np.bincount(rows, hits, len(users))
    return {
        f"recall@{k}": found / number,
        f"hr@{k}": (found > 0).astype(np.float64),
        f"ndcg@{k}": np.bincount(rows, gains, len(users))
        / np.cumsum(gain)[np.minimum(number, k) - 1],
        "auc": 1.0 - np.bincount(rows, below, len(users)) / number / negatives,
    }


def read_parts(log_dir: Path, candidate_type: str) -> tuple[TwoKinds, dict[str, sparse.csr_matrix]]:
    """Reads an event log whose division into parts is given (`given_parts`).

    Args:
        log_dir: Directory of the event log.
        candidate_type: Type of the entities that are candidates; the training part alone has
            events of others.

    Returns:
        The first part, and the held-out candidates of the others by name, [users, C].
    """
    from tfx_pipeline.datasets.event_log import EventLog
    from transforms.arrow import pa
    from transforms.arrow import pc

    log = EventLog(log_dir)
    events, rows = log.read("events"), log.read("catalogue")
    chosen = pc.equal(rows.column("entity_type"), candidate_type)
    ids = rows.column("entity_id")
    candidates, rest = (ids.filter(kind).combine_chunks() for kind in (chosen, pc.invert(chosen)))
    users = pc.unique(events.column("user_id"))
    user = np.asarray(pc.index_in(events.column("user_id"), users))
    notes = log.manifest.notes
    part = np.asarray(events.column("timestamp")) // (notes["part_seconds"] * 1_000_000)
    is_candidate = np.asarray(pc.equal(events.column("entity_type"), candidate_type))
    names = events.column("entity_id").combine_chunks()

    def edges(kept: np.ndarray, of: Any) -> sparse.csr_matrix:
        entity = pc.index_in(names.filter(pa.array(kept)), of)
        return matrix(user[kept], entity, (len(users), len(of)))

    held_out = {
        name: edges(is_candidate & (part == number), candidates)
        for number, name in enumerate(notes["parts"])
    }
    others = edges(~is_candidate & (part == 0), rest)
    shows = None
    if "related_ids" in rows.column_names:
        linked = rows.column("related_ids").filter(chosen).combine_chunks()
        lengths = np.asarray(pc.fill_null(pc.list_value_length(linked), 0))
        other_type = pc.unique(rows.column("entity_type").filter(pc.invert(chosen)))[0]
        owner = np.repeat(np.arange(len(candidates)), lengths)
        keys = pc.binary_join_element_wise(other_type.as_py(), rest, ":")
        shown = pc.index_in(linked.flatten(), keys)
        shows = matrix(owner, shown, (len(candidates), len(rest))) if len(owner) else None
    return TwoKinds(held_out.pop(notes["parts"][0]), others, shows), held_out


def matrix(left: Any, right: Any, shape: tuple[int, int]) -> sparse.csr_matrix:
    """Returns pairs, [E] each, as a matrix of 0 and 1; which are there several times count once."""
    made = sparse.csr_matrix(
        (np.ones(len(left), np.float32), (np.asarray(left), np.asarray(right))), shape
    )
    made.data[:] = 1.0
    return made
