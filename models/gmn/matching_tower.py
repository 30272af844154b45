"""The query tower of GMN: two neighbourhoods, matched, as one or several vectors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from models.gmn.config import MatchingTowerConfig
from models.gmn.neighbourhoods import KINDS
from models.gmn.neighbourhoods import Neighbourhoods
from models.input.vocabulary_sizes import VocabularySizes
from models.layers.mixture import Mixture
from models.layers.mixture import Queries
from models.layers.mlp import MLP
from models.layers.node_matching import NodeMatching
from models.layers.preferences import PreferenceExtraction
from models.layers.preferences import PreferenceMatching
from models.two_tower.history_reader import HistoryReader
from models.two_tower.history_reader import request_bags


class MatchingTower(tf.keras.layers.Layer):
    """Embeds a request out of the user's neighbours of two kinds.

        x[p], y[q] = events of each kind, by a projection of its own
        x', y'     = NodeMatching(x, y)                          the node level
        z          = MLP([parts of x' ; parts of y' ; user attributes ; query words])
        P          = PreferenceMatching(K preferences of x', K of y')    the preference level
        a          = softmax_k( (W_a z) . P[k] / sqrt(d) )
        out        = z + W_r sum_k a[k] P[k],   or u[k] = z + W_r P[k] with weights a[k]

    The parts of a neighbourhood are those of `HistoryReader`. Without the node level x' is x,
    without the preference level the output is z: without both this pools two histories.

    Args:
        dim: d, length of an embedding.
        config: What is read, and which levels there are.
        sizes: Sizes of the vocabularies.
        neighbourhoods: What made the batches.
    """

    def __init__(
        self,
        dim: int,
        config: MatchingTowerConfig,
        sizes: VocabularySizes,
        neighbourhoods: Neighbourhoods,
    ) -> None:
        super().__init__(name="matching_tower")
        self.config = config
        self.neighbourhoods = neighbourhoods
        kinds = range(KINDS)
        dense = tf.keras.layers.Dense
        self.readers = [
            HistoryReader(dim, config, sizes, config.neighbours, name=f"reader_{k}") for k in kinds
        ]
        self.project = [dense(dim, name=f"project_{k}") for k in kinds]
        self.out = MLP(config.hidden_units, dim, config.dropout, name="out")
        if config.node_level:
            self.match_nodes = NodeMatching(config.dropout, name="match_nodes")
        if config.preference_level:
            number = config.preferences
            self.extract = [PreferenceExtraction(number, name=f"extract_{k}") for k in kinds]
            self.match_preferences = PreferenceMatching(
                config.sinkhorn_iterations, name="match_preferences"
            )
            self.preference_dropout = tf.keras.layers.Dropout(config.dropout)
            self.attend = dense(dim, use_bias=False, name="attend")
            # Zeros: normalised preferences would drown what pooling says, to begin with.
            self.read_out = dense(dim, use_bias=False, kernel_initializer="zeros", name="read_out")
        self.request_bags = request_bags(dim, config, sizes)

    def call(
        self,
        batch: Mapping[str, tf.Tensor],
        vectors: tf.Tensor,
        index: tf.Tensor,
        training: bool = False,
    ) -> Queries:
        """Embeds requests.

        Args:
            batch: Of `Neighbourhoods`, B rows.
            vectors: [U, d] float32, vectors of the distinct entities of all windows.
            index: [B, 2 n] int32, which of the vectors each neighbour has.
            training: Whether dropout works.

        Returns:
            [B, d] float32, or a mixture of [B, K, d].
        """
        config = self.config
        windows = [self.neighbourhoods.kind_of(batch, kind) for kind in range(KINDS)]
        there = [reader.valid(w) for reader, w in zip(self.readers, windows, strict=True)]
        nodes = [
            self._nodes(kind, windows[kind], vectors, places, training)
            for kind, places in enumerate(tf.split(index, KINDS, axis=1))
        ]
        if config.node_level:
            nodes = list(self.match_nodes(*nodes, *there, training=training))
        parts = []
        for reader, window, own in zip(self.readers, windows, nodes, strict=True):
            with tf.name_scope(reader.name):  # a warm start tells weights by their names
                parts += reader.parts(window, own, own[:, : config.last_items])
        parts += [bag(batch[name]) for name, bag in self.request_bags.items()]
        vector = self.out(tf.concat(parts, axis=1), training=training)
        if not config.preference_level:
            return vector
        return self._with_preferences(vector, nodes, there, training)

    def _nodes(
        self,
        kind: int,
        window: Mapping[str, tf.Tensor],
        vectors: tf.Tensor,
        index: tf.Tensor,
        training: bool,
    ) -> tf.Tensor:
        """Makes the neighbours of one kind, [B, n, d]."""
        reader = self.readers[kind]
        own = self.project[kind](reader.item_dropout(vectors, training=training))
        with tf.name_scope(reader.name):
            return reader.events(window, own, index, self.config.neighbours)

    def _with_preferences(
        self,
        vector: tf.Tensor,
        nodes: list[tf.Tensor],
        there: list[tf.Tensor],
        training: bool,
    ) -> Queries:
        """Adds matched preferences to [B, d]."""
        own, others = (
            layer(*inputs) for layer, *inputs in zip(self.extract, nodes, there, strict=True)
        )
        matched = self.match_preferences(own, others)  # [B, K, d]
        products = tf.einsum("bd,bkd->bk", self.attend(vector), matched)
        weight = tf.nn.log_softmax(products / np.sqrt(vector.shape[-1]).astype(np.float32))
        matched = self.preference_dropout(matched, training=training)
        if self.config.vectors == "several":
            return Mixture(vector[:, None] + self.read_out(matched), weight)
        pooled = tf.einsum("bk,bkd->bd", tf.exp(weight), matched)
        return vector + self.read_out(pooled)
