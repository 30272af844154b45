"""Retrieval models of the project on users with two kinds of entities.

Where there are no times a user's events of both kinds are sets: a training example is an edge to
a candidate and, in an order that is drawn anew each time, the user's other edges. Where there are,
it is an edge and those before it, newest first.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from scipy import sparse

from benchmarks.two_kinds import Scorer
from benchmarks.two_kinds import TwoKinds
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


class Towers:
    """A retrieval model of the project on two kinds of entities.

    Args:
        data: What is learned from.
        config: The model, its window among it, and how it is trained.
        family: The model's class; by default that of its family.
    """

    def __init__(
        self,
        data: TwoKinds,
        config: RetrievalTrainerConfig,
        family: type[RetrievalModel] | None = None,
    ) -> None:
        self.data = data
        self.config = config
        self._family = family or find_family(config.model.family).load()
        both = sparse.hstack([data.candidates, data.others]) if data.seconds is None else None
        self._edges = sparse.csr_matrix(data.seconds if both is None else both)
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
        words = 0
        if self.data.described is not None:
            words = self.data.described.shape[1]
            tokens = _padded(self.data.described, 1)
            features["categories"] = np.pad(tokens, [(1, 0), (0, 0)])
        counts = np.zeros([1 + size + number], np.int64)
        counts[1 : 1 + size] = np.asarray(self.data.candidates.sum(axis=0)).ravel()
        table = CatalogueTable(np.arange(1, 1 + size + number), types, features)
        sizes = VocabularySizes(entity=1 + size + number, event_type=3, category=1 + words)
        return self._family(self.config, sizes, table, counts, None)

    def _start(self) -> None:
        """Lets tables start as factors of the graph, where the model is asked to."""
        if isinstance(self.config.model, GMNConfig) and self.config.model.start == "graph":
            first = self.windows(np.zeros([1], np.int64))
            self.model.embed_queries({name: tf.constant(v) for name, v in first.items()})
            self.model.embed_items(tf.range(1, 1 + self._size, dtype=tf.int64))
            users, entities = self._edges.nonzero()
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
        """Cuts windows of users, newest first or in an order that is drawn (`models.input.batch`).

        Args:
            users: [B] int64.
            without: [B] int64, an entity that each window leaves out, and what came after it.
        """
        width, timed = self.config.model.longest_window, self.data.seconds is not None
        both = self._edges[users]
        row = np.repeat(np.arange(len(users)), np.diff(both.indptr))
        entity, second = 1 + both.indices.astype(np.int64), both.data
        moment = np.full(len(users), self.data.now)
        if without is not None:
            moment = np.asarray(self._edges[users, without - 1]).ravel()
        if timed:
            kept = second < moment[row]
        else:
            kept = np.ones(len(row), bool) if without is None else entity != without[row]
        row, entity, second = row[kept], entity[kept], second[kept]
        order = np.lexsort((-second if timed else self._generator.random(len(row)), row))
        row, entity, second = row[order], entity[order], second[order]
        place = np.arange(len(row)) - np.searchsorted(row, row)
        fits = place < width
        at = row[fits], place[fits]
        history = np.zeros([len(users), width], np.int64)
        history[at] = entity[fits]
        windows = {
            b.HISTORY_ENTITY: history,
            b.HISTORY_TYPE: np.where(history == 0, 0, 1 + (history > self._size)),
            b.HISTORY_LENGTH: np.bincount(at[0], minlength=len(users)),
        }
        if timed:
            age = np.zeros_like(history)
            age[at] = 1_000_000 * (moment[at[0]] - second[fits]).astype(np.int64)
            windows[b.HISTORY_AGE] = age
        return windows

    def scorer(self) -> Scorer:
        """Returns what scores candidates with the model as it is now."""
        ids = tf.range(1, 1 + self._size, dtype=tf.int64)
        items = self.model.embed_items(ids)
        embed = tf.function(self.model.embed_queries, reduce_retracing=True)

        def score(users: np.ndarray) -> np.ndarray:
            windows = {name: tf.constant(value) for name, value in self.windows(users).items()}
            scores: np.ndarray = score_items(embed(windows), items).numpy()
            return scores

        return score


def _padded(rows: sparse.csr_matrix, first: int) -> np.ndarray:
    """Returns the columns of each row plus `first`, padded with 0, [rows, most] int32."""
    lengths = np.diff(rows.indptr)
    out = np.zeros([rows.shape[0], max(1, int(lengths.max()))], np.int32)
    row = np.repeat(np.arange(len(lengths)), lengths)
    out[row, np.arange(rows.nnz) - rows.indptr[row]] = first + rows.indices
    return out
