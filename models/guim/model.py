"""GUIM: items out of their features, users as mixtures, both in one space."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from models.config import RetrievalTrainerConfig
from models.guim.config import GUIMConfig
from models.guim.representations import Representations
from models.guim.representations import similarity
from models.input import batch as b
from models.input.catalogue import CatalogueTable
from models.input.sequence_batches import SequenceSpec
from models.input.vocabulary_sizes import VocabularySizes
from models.layers.mixture import Queries
from models.layers.mixture import SoftBest
from models.sequence.model import SequenceModel
from models.sequence.model import sequences_of_windows
from models.training.replicas import share_of_mean


class GUIM(SequenceModel):
    """A transformer from both sides over items of the candidate tower, and K tokens for the user.

        v[i]  = candidate_tower(item i),   x[t] = W v[i_t]
        o, u  = encoder([start, x, K tokens]) at events and at tokens
        loss  = InfoNCE(mixture of u; the next items) + a InfoNCE(o[t]; the hidden item t)
                + b mean_{k != l} cos(u[k], u[l])^2

    An item that training never saw has a vector by its features, in histories, too.
    See `models.retrieval.model.RetrievalModel` for the arguments.
    """

    towers: GUIMConfig

    def __init__(
        self,
        config: RetrievalTrainerConfig,
        sizes: VocabularySizes,
        table: CatalogueTable,
        counts: np.ndarray,
        seen_types: tuple[int, ...] | None = (),
    ) -> None:
        super().__init__(config, sizes, table, counts, seen_types)
        towers = self.towers
        self.representations = Representations(towers.interests, towers.dim, towers.score)
        self.read_items = tf.keras.layers.Dense(towers.dim, use_bias=False, name="read_items")

    def make_interests(self) -> None:
        """Makes nothing: tokens of the encoder are the interests."""

    @property
    def longest_sequence(self) -> int:
        """The positions of the longest sequence, with the tokens behind it."""
        return self.sequence_spec.longest + self.towers.interests

    @property
    def sequence_spec(self) -> SequenceSpec:
        """Returns the contents of training sequences; see the base class."""
        return dataclasses.replace(super().sequence_spec, future=self.towers.future)

    @tf.autograph.experimental.do_not_convert
    def embed_queries(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> Queries:
        """Embeds users as they are at the request; see the base class."""
        sequence = sequences_of_windows(batch)
        if b.SEQUENCE_AGE in sequence:  # an event is looked at as of itself, as in training
            sequence[b.SEQUENCE_REQUEST_AGE] = sequence[b.SEQUENCE_AGE]
        vectors, position = self.history_vectors(sequence[b.SEQUENCE_ENTITY])
        _, users = self._read(sequence, tf.gather(vectors, position), training)
        queries = self.as_query(self.representations(users))
        return queries.vectors if isinstance(queries, SoftBest) else queries

    def history_vectors(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Embeds the distinct items of histories by the candidate tower; see the base class."""
        distinct, position = tf.unique(tf.reshape(ids, [-1]))
        return self.read_items(self.embed_items(distinct)), tf.reshape(position, tf.shape(ids))

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Computes the loss of finding hidden events and the next ones.

        Args:
            inputs: What `training_batches` gives.
            training: Whether dropout works and ids are dropped.

        Returns:
            Scalar float32.
        """
        hidden, future = inputs[b.SEQUENCE_QUERY], inputs[b.SEQUENCE_FUTURE]
        follows = future > 0  # [B, F]
        found = tf.boolean_mask(inputs[b.SEQUENCE_TARGET], hidden)  # [P]
        targets = tf.concat([found, tf.boolean_mask(future, follows)], axis=0)
        distinct, position, candidates = self.distinct_items(targets, inputs[b.SEQUENCE_ENTITY])
        vectors = self.embed_items(distinct, training)  # an id is dropped everywhere
        items = vectors[: tf.size(candidates.ids)]
        tokens = tf.gather(self.read_items(vectors), position)
        encoded, users = self._read(inputs, tokens, training)

        def part(queries: Queries, rows: slice, where: tf.Tensor) -> tf.Tensor:
            of_rows = candidates.of_rows(rows)
            excluded = self.excluded(inputs, position, of_rows, where)
            mean = self.task(self.as_query(queries), items, of_rows, excluded)
            return self.share_of_loss(mean, tf.size(of_rows.labels))

        row = tf.where(follows)[:, 0]  # the user of each of the next events
        queries = tf.nest.map_structure(
            lambda values: tf.gather(values, row), self.representations(users)
        )
        newest = tf.fill(tf.shape(row), tf.shape(hidden, tf.int64)[1])
        number = tf.size(found)
        loss = part(queries, slice(number, None), tf.stack([row, newest], axis=1))
        if self.towers.masked_weight:
            own = tf.boolean_mask(encoded[:, : tf.shape(hidden)[1]], hidden)  # [P, d]
            loss += self.towers.masked_weight * part(own, slice(None, number), tf.where(hidden))
        if self.towers.diversity and self.towers.interests > 1:
            loss += self.towers.diversity * share_of_mean(similarity(users), tf.shape(users)[0])
        return loss

    def _read(
        self, sequence: Mapping[str, tf.Tensor], items: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Encodes sequences whose items have vectors [B, T, d], and their users.

        Returns:
            [B, T + K, d] float32 and [B, K, d] float32.
        """
        longer, events = self.representations.append(sequence, items)
        encoded = self._encode(longer, events, training)
        return encoded, self.representations.vectors(encoded, sequence[b.SEQUENCE_LENGTH])
