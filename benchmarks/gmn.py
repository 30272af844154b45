"""Users with two kinds of entities: metrics, baselines, and models of the project without times.

What benchmarks of GMN share. A user's events of both kinds are sets here, for the logs have no
times: a training example is an edge to a candidate and, in an order that is drawn anew each time,
the user's other edges.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf
from scipy import linalg
from scipy import sparse

from models.config import RetrievalTrainerConfig
from models.families import find_family
from models.gmn.config import GMNConfig
from models.input import batch as b
from models.input.catalogue import CatalogueTable
from models.input.vocabulary_sizes import VocabularySizes
from models.layers.mixture import score_items
from models.retrieval.model import RetrievalModel
from models.training.learner import seed_everything
from models.training.optimizers import make_optimizer

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
    """

    candidates: sparse.csr_matrix
    others: sparse.csr_matrix
    shows: sparse.csr_matrix | None = None

    def with_shuffled_others(self, seed: int) -> TwoKinds:
        """Returns the same with each user's others given to another user: a control."""
        order = np.random.default_rng(seed).permutation(self.others.shape[0])
        return TwoKinds(self.candidates, self.others[order], self.shows)


def measure(
    scorer: Scorer, seen: sparse.csr_matrix, held_out: sparse.csr_matrix, k: int = 20
) -> dict[str, float]:
    """Ranks all candidates for every user with a held-out one, those seen in training excluded.

        recall = hits / held-out,   ndcg = sum over hits of 1 / log2(rank + 1) / the same of
        min(k, held-out) hits at the top

    Args:
        scorer: The model.
        seen: [users, C].
        held_out: [users, C].
        k: Length of the list.

    Returns:
        `recall@k` and `ndcg@k`, means over users.
    """
    users = np.flatnonzero(np.diff(held_out.indptr))
    gain = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(gain)
    recall, ndcg = [], []
    for first in range(0, len(users), _AT_ONCE):
        chosen = users[first : first + _AT_ONCE]
        scores = np.array(scorer(chosen), np.float32)
        scores[seen[chosen].nonzero()] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        wanted = held_out[chosen].toarray()
        hits, number = np.take_along_axis(wanted, best, axis=1), wanted.sum(axis=1)
        recall.append(hits.sum(axis=1) / number)
        ndcg.append(hits @ gain / ideal[np.minimum(number, k).astype(np.int64) - 1])
    return {
        f"recall@{k}": float(np.mean(np.concatenate(recall))),
        f"ndcg@{k}": float(np.mean(np.concatenate(ndcg))),
    }


def popularity(data: TwoKinds) -> Scorer:
    """Returns a scorer by the number of users of each candidate."""
    counts = np.asarray(data.candidates.sum(axis=0), np.float32)  # [1, C]
    return lambda users: np.repeat(counts, len(users), axis=0)


def ease(data: TwoKinds, regularisation: float, weight: float = 0.0) -> Scorer:
    """Returns a scorer by EASE over candidates, or over both kinds where `weight` is not 0.

    With X = [candidates, weight others] and G = X X' + lambda I over users, the inverse that EASE
    asks for is P = (I - X' G^-1 X) / lambda (Woodbury), of which the columns of candidates are
    needed alone: many entities cost no more than their users.

    Args:
        data: What is fitted.
        regularisation: lambda.
        weight: Of the other kind's columns.
    """
    own, others = data.candidates.astype(np.float32), weight * data.others.astype(np.float32)
    gram = (own @ own.T + others @ others.T).toarray()
    gram[np.diag_indices_from(gram)] += regularisation
    factor = linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
    solved = linalg.cho_solve(factor, own.toarray(), overwrite_b=True, check_finite=False)
    inner = own.T @ solved  # [C, C], I - lambda P
    left = 1.0 - np.diag(inner)
    weights = inner / left
    np.fill_diagonal(weights, 0.0)
    of_others = (others.T @ solved) / left if weight else None  # [O, C]

    def score(users: np.ndarray) -> np.ndarray:
        scores = own[users] @ weights
        return scores if of_others is None else scores + others[users] @ of_others

    return score


def neighbours(data: TwoKinds, number: int, weight: float = 0.0) -> Scorer:
    """Returns a scorer by what the users say that are most alike, by cosine.

    Args:
        data: What is fitted.
        number: So many users are asked.
        weight: Of the other kind's columns in the cosine.
    """
    own = sparse.hstack([data.candidates, weight * data.others]).tocsr().astype(np.float32)
    norm = np.sqrt(np.maximum(np.asarray(own.multiply(own).sum(axis=1)).ravel(), 1e-9))
    own = sparse.diags(1.0 / norm) @ own

    def score(users: np.ndarray) -> np.ndarray:
        alike = (own[users] @ own.T).toarray()
        alike[np.arange(len(users)), users] = 0.0
        least = -np.sort(-alike, axis=1)[:, number - 1 : number]
        alike[alike < np.maximum(least, 1e-9)] = 0.0
        return sparse.csr_matrix(alike) @ data.candidates.toarray()

    return score


class Learned(Protocol):
    """A model that is trained epoch by epoch."""

    def train_epoch(self) -> float:
        """Trains on every edge to a candidate once, and returns the mean loss."""

    def scorer(self) -> Scorer:
        """Returns what scores candidates with the model as it is now."""


class Towers:
    """A retrieval model of the project on two kinds of entities.

    Args:
        data: What is learned from.
        config: The model, its window among it, and how it is trained.
    """

    def __init__(self, data: TwoKinds, config: RetrievalTrainerConfig) -> None:
        self.data = data
        self.config = config
        self._size = data.candidates.shape[1]
        self._generator = np.random.default_rng(config.seed)
        seed_everything(config)
        self.model = self._make()
        self._start()
        steps = -(-data.candidates.nnz // config.input.batch_size)
        self.model.compile(make_optimizer(config.optimizer, steps * config.epochs))

    def _make(self) -> RetrievalModel:
        """Makes the model; entity 1 + c is candidate c, the others come behind them."""
        size, number = self._size, self.data.others.shape[1]
        types = np.array([b"candidate"] * size + [b"other"] * number)
        features = {}
        if self.data.shows is not None:
            features["related"] = _padded(self.data.shows, 1 + size)
            rest = np.zeros([number, features["related"].shape[1]], np.int32)
            first = np.zeros([1, rest.shape[1]], np.int32)
            features["related"] = np.concatenate([first, features["related"], rest])
        counts = np.zeros([1 + size + number], np.int64)
        counts[1 : 1 + size] = np.asarray(self.data.candidates.sum(axis=0)).ravel()
        table = CatalogueTable(np.arange(1, 1 + size + number), types, features)
        sizes = VocabularySizes(entity=1 + size + number, event_type=3)
        model: RetrievalModel = find_family(self.config.model.family).load()(
            self.config, sizes, table, counts, None
        )
        return model

    def _start(self) -> None:
        """Lets tables start as factors of the graph, where the model is asked to."""
        if isinstance(self.config.model, GMNConfig) and self.config.model.start == "graph":
            first = self.windows(np.zeros([1], np.int64))
            self.model.embed_queries({name: tf.constant(v) for name, v in first.items()})
            self.model.embed_items(tf.range(1, 1 + self._size, dtype=tf.int64))
            users, entities = sparse.hstack([self.data.candidates, self.data.others]).nonzero()
            self.model.start_from_graph(users.astype(np.int64), 1 + entities.astype(np.int64))

    def train_epoch(self) -> float:
        """Trains on every edge to a candidate once, and returns the mean loss."""
        edges = np.stack(self.data.candidates.nonzero(), axis=1)
        edges = edges[self._generator.permutation(len(edges))]
        size = self.config.input.batch_size

        def batches() -> Iterator[dict[str, np.ndarray]]:
            for first in range(0, len(edges), size):
                user, candidate = edges[first : first + size].T
                windows = self.windows(user, 1 + candidate)
                yield windows | {b.TARGET_ENTITY: 1 + candidate.astype(np.int64)}

        shapes = {name: [None, *value.shape[1:]] for name, value in next(batches()).items()}
        spec = {name: tf.TensorSpec(shape, tf.int64) for name, shape in shapes.items()}
        data = tf.data.Dataset.from_generator(batches, output_signature=spec).prefetch(2)
        history = self.model.fit(data, verbose=0)
        return float(history.history["mean_loss"][0])

    def windows(
        self, users: np.ndarray, without: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Cuts windows of users in an order that is drawn, by name (`models.input.batch`).

        Args:
            users: [B] int64.
            without: [B] int64, an entity that each window leaves out.
        """
        width = self.config.model.longest_window
        own, others = self.data.candidates[users], self.data.others[users]
        both = sparse.hstack([own, others]).tocsr()
        row = np.repeat(np.arange(len(users)), np.diff(both.indptr))
        entity = 1 + both.indices.astype(np.int64)
        if without is not None:
            kept = entity != without[row]
            row, entity = row[kept], entity[kept]
        order = np.lexsort((self._generator.random(len(row)), row))
        row, entity = row[order], entity[order]
        place = np.arange(len(row)) - np.searchsorted(row, row)
        fits = place < width
        row, entity, place = row[fits], entity[fits], place[fits]
        history = np.zeros([len(users), width], np.int64)
        history[row, place] = entity
        kind = np.where(history == 0, 0, 1 + (history > self._size))
        return {
            b.HISTORY_ENTITY: history,
            b.HISTORY_TYPE: kind,
            b.HISTORY_LENGTH: np.bincount(row, minlength=len(users)),
        }

    def scorer(self) -> Scorer:
        """Returns what scores candidates with the model as it is now."""
        ids = tf.range(1, 1 + self._size, dtype=tf.int64)
        items = self.model.embed_items(ids)

        def score(users: np.ndarray) -> np.ndarray:
            windows = {name: tf.constant(value) for name, value in self.windows(users).items()}
            queries = self.model.embed_queries(windows)
            scores: np.ndarray = score_items(queries, items).numpy()
            return scores

        return score


def _padded(rows: sparse.csr_matrix, first: int) -> np.ndarray:
    """Returns the columns of each row plus `first`, padded with 0, [rows, most] int32."""
    lengths = np.diff(rows.indptr)
    out = np.zeros([rows.shape[0], max(1, int(lengths.max()))], np.int32)
    row = np.repeat(np.arange(len(lengths)), lengths)
    out[row, np.arange(rows.nnz) - rows.indptr[row]] = first + rows.indices
    return out
