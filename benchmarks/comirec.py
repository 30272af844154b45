"""ComiRec-SA: on events of two kinds, merged into one history, and on those of one kind alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from models.gmn.matching_tower import MatchingTower
from models.gmn.model import GMN
from models.gmn.neighbourhoods import KINDS
from models.input.catalogue import CatalogueTable
from models.input.vocabulary_sizes import VocabularySizes
from models.layers.mixture import Queries
from models.layers.mixture import SoftBest
from models.layers.preferences import PreferenceExtraction


class ComiRecTower(MatchingTower):
    """Extracts K interests of all events alike, and matches nothing.

        u[k] = sum_t softmax_t( w_k . tanh(W x[t]) ) x[t],   score = max_k u[k] . v

    (Cen et al. 2020, eqs. 6 and 7.) Training weights the interests by a softmax of their scores for
    a candidate, of which ComiRec's choice of the best one is the limit. Events are GMN's nodes,
    projected by their kind, and the neighbours of both kinds are as many as GMN's.
    """

    def build(self, input_shape: object) -> None:
        """Creates what extracts."""
        self.extract_all = PreferenceExtraction(self.config.preferences, name="extract_all")
        super().build(input_shape)

    def call(
        self,
        batch: Mapping[str, tf.Tensor],
        vectors: tf.Tensor,
        index: tf.Tensor,
        training: bool = False,
    ) -> Queries:
        """Embeds requests as K vectors each; see the base class."""
        windows = [self.neighbourhoods.kind_of(batch, kind) for kind in range(KINDS)]
        there = [reader.valid(w) for reader, w in zip(self.readers, windows, strict=True)]
        nodes = [
            self._nodes(kind, windows[kind], vectors, places, training)
            for kind, places in enumerate(tf.split(index, KINDS, axis=1))
        ]
        return SoftBest(self.extract_all(tf.concat(nodes, axis=1), tf.concat(there, axis=1)))


class ComiRec(GMN):
    """GMN's inputs, candidates and loss under ComiRec-SA's query tower."""

    def make_query_tower(self, sizes: VocabularySizes, table: CatalogueTable) -> MatchingTower:
        """Makes what embeds neighbourhoods; see the base class."""
        super().make_query_tower(sizes, table)  # makes the neighbourhoods
        return ComiRecTower(self.towers.dim, self.towers.query, sizes, self.neighbourhoods)


class EventComiRec(tf.Module):
    """ComiRec-SA on the ids of a log's events, for its embeddings of users and items.

        u[k] = sum_t softmax_t( w_k . tanh(W (v[i_t] + p_t)) ) (v[i_t] + p_t)

    with p_t for how far back an event is, learned from the event that follows it: of the interests
    the one whose product with the target is the largest takes part (Cen et al. 2020, eqs. 6 to 9),
    in a softmax over all items in place of a sampled one.

    Args:
        items: Number of items.
        dim: Length of a vector.
        interests: K.
        length: Events of a history that are read, the newest.
        learning_rate: Of Adam.
        batch_size: Targets of a step.
        seed: Of the initial values and the order of the targets.
    """

    def __init__(
        self,
        items: int,
        dim: int,
        interests: int,
        length: int,
        learning_rate: float,
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._length, self._batch_size = length, batch_size
        self._generator = np.random.default_rng(seed)
        self.table = tf.Variable(tf.random.stateless_normal([items, dim], [seed, 0], stddev=0.1))
        self.places = tf.Variable(tf.random.stateless_normal([length, dim], [seed, 1], stddev=0.1))
        tf.keras.utils.set_random_seed(seed)
        self.extract = PreferenceExtraction(interests)
        self.extract(tf.zeros([1, length, dim]), tf.ones([1, length], tf.bool))  # makes weights
        self._optimizer = tf.keras.optimizers.Adam(learning_rate)

    def train_epoch(self, user: np.ndarray, item: np.ndarray) -> float:
        """Trains on every event that follows another one of its user, and returns the mean loss.

        Args:
            user: [E] int64, ascending.
            item: [E] int64, in each user's order.
        """
        targets = self._generator.permutation(np.flatnonzero(user[1:] == user[:-1]) + 1)
        losses, sizes = [], []
        for start in range(0, len(targets), self._batch_size):
            at = targets[start : start + self._batch_size]
            histories, there = newest_before(user, item, at, user[at], self._length)
            losses.append(self._step(histories, there, tf.constant(item[at])))
            sizes.append(len(at))
        return float(np.average([float(loss) for loss in losses], weights=sizes))

    def users(self, user: np.ndarray, item: np.ndarray, count: int) -> np.ndarray:
        """Returns the interests of `count` users after all of their events, [U, K, d] float32."""
        ends = np.searchsorted(user, np.arange(count), side="right")
        found = []
        for start in range(0, count, self._batch_size):
            asked = np.arange(start, min(start + self._batch_size, count))
            histories = newest_before(user, item, ends[asked], asked, self._length)
            found.append(self._interests(*map(tf.constant, histories)).numpy())
        return np.concatenate(found)

    def _interests(self, histories: tf.Tensor, there: tf.Tensor) -> tf.Tensor:
        """Returns the interests of histories [B, length], newest first: [B, K, d]."""
        return self.extract(tf.gather(self.table, histories) + self.places, there)  # [B, K, d]

    @tf.function(reduce_retracing=True)
    def _step(self, histories: tf.Tensor, there: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            interests = self._interests(histories, there)
            products = tf.einsum("bkd,bd->bk", interests, tf.gather(self.table, targets))
            best = tf.gather(interests, tf.argmax(products, axis=1), batch_dims=1)
            scores = tf.matmul(best, self.table, transpose_b=True)  # [B, N]
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, scores))
        gradients = tape.gradient(loss, self.trainable_variables)
        dense = map(tf.convert_to_tensor, gradients)
        self._optimizer.apply_gradients(zip(dense, self.trainable_variables, strict=True))
        return loss


def newest_before(
    user: np.ndarray, item: np.ndarray, at: np.ndarray, of: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the newest events before some places of a log, newest first.

    Args:
        user: [E] int64, ascending.
        item: [E] int64.
        at: [B] places from 0 to E.
        of: [B] users, whose events are returned.
        length: How many at most.

    Returns:
        Items [B, length] int64 and whether there is an event [B, length] bool.
    """
    index = at[:, None] - 1 - np.arange(length)
    inside = np.maximum(index, 0)
    there = (index >= 0) & (user[inside] == of[:, None])
    return np.where(there, item[inside], 0), there
