"""ComiRec-SA on a user's events of two kinds, merged into one history."""

from __future__ import annotations

from collections.abc import Mapping

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
