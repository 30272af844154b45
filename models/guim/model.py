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
    """A transformer over items of the candidate tower, and K tokens for the user.

        v[i]    = candidate_tower(item i)
        o[1..]  = encoder([start, v[i_1] .. v[i_n], K tokens])
        u[k]    = o[n] + P[k] o[token k]
        loss    = mean InfoNCE over (mixture of u; each of the next items),
                  and with weight a over (o[t]; the hidden item t, or item t + 1)
                  + b mean_{k != l} cos(u[k], u[l])^2

    Hidden items are found from both sides (BERT4Rec, Sun et al. 2019), the next ones by a mask of
    attention in the same encoder, sequence by sequence (UniLM, Dong et al. 2019, section 2.3).

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

    def make_interests(self) -> None:
        """Makes nothing: tokens of the encoder are the interests."""

    @property
    def longest_sequence(self) -> int:
        """The positions of the longest sequence, with the tokens behind it."""
        return self.sequence_spec.longest + self.towers.interests

    @property
    def sequence_spec(self) -> SequenceSpec:
        """Returns the contents of training sequences; see the base class."""
        future, forwards = self.towers.future, self.towers.forwards
        return dataclasses.replace(super().sequence_spec, future=future, forwards=forwards)

    @tf.autograph.experimental.do_not_convert
    def embed_queries(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> Queries:
        """Embeds users as they are at the request; see the base class."""
        sequence = sequences_of_windows(batch)
        if self.towers.forwards:
            sequence[b.SEQUENCE_FORWARDS] = tf.fill(tf.shape(sequence[b.SEQUENCE_LENGTH]), True)
        elif b.SEQUENCE_AGE in sequence:  # an event is looked at as of itself, as in training
            sequence[b.SEQUENCE_REQUEST_AGE] = sequence[b.SEQUENCE_AGE]
        vectors, position = self.history_vectors(sequence[b.SEQUENCE_ENTITY])
        _, users = self._read(sequence, tf.gather(vectors, position), training)
        queries = self.as_query(self.representations(users))
        return queries.vectors if isinstance(queries, SoftBest) else queries

    def history_vectors(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Embeds the distinct items of histories by the candidate tower; see the base class."""
        distinct, position = tf.unique(tf.reshape(ids, [-1]))
        return self.embed_items(distinct), tf.reshape(position, tf.shape(ids))

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Computes the loss of finding hidden events, the next ones, and those that follow.

        Args:
            inputs: What `training_batches` gives.
            training: Whether dropout works and ids are dropped.

        Returns:
            Scalar float32.
        """
        asked, future = inputs[b.SEQUENCE_QUERY], inputs[b.SEQUENCE_FUTURE]
        follows = future > 0  # [B, F]
        if self.towers.forwards:  # users are learned as they are asked about
            follows &= inputs[b.SEQUENCE_FORWARDS][:, None]
        found = tf.boolean_mask(inputs[b.SEQUENCE_TARGET], asked)  # [P]
        targets = tf.concat([found, tf.boolean_mask(future, follows)], axis=0)
        distinct, position, candidates = self.distinct_items(targets, inputs[b.SEQUENCE_ENTITY])
        vectors = self.embed_items(distinct, training)  # an id is dropped everywhere
        items = vectors[: tf.size(candidates.ids)]
        encoded, users = self._read(inputs, tf.gather(vectors, position), training)

        def mean(queries: Queries, rows: slice, where: tf.Tensor) -> tf.Tensor:
            of_rows = candidates.of_rows(rows)
            excluded = self.excluded(inputs, position, of_rows, where)
            return self.task(self.as_query(queries), items, of_rows, excluded)

        row = tf.where(follows)[:, 0]  # the user of each of the events that follow
        queries = tf.nest.map_structure(
            lambda values: tf.gather(values, row), self.representations(users)
        )
        newest = tf.fill(tf.shape(row), tf.shape(asked, tf.int64)[1])
        number = tf.size(found)
        loss = mean(queries, slice(number, None), tf.stack([row, newest], axis=1))
        weight = tf.cast(tf.size(row), tf.float32)
        if self.towers.masked_weight:
            own = tf.boolean_mask(encoded[:, : tf.shape(asked)[1]], asked)  # [P, d]
            others = self.towers.masked_weight * tf.cast(number, tf.float32)
            of_others = mean(own, slice(None, number), tf.where(asked))
            loss = tf.math.divide_no_nan(weight * loss + others * of_others, weight + others)
            weight += others
        loss = self.share_of_loss(loss, weight)
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
        lengths = sequence[b.SEQUENCE_LENGTH]
        return encoded, self.representations.vectors(encoded, lengths)
