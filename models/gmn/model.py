"""GMN: retrieval that matches what a user watches with what the user buys."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from models.gmn.config import GMNConfig
from models.gmn.graph_factors import edges_of
from models.gmn.graph_factors import graph_factors
from models.gmn.matching_tower import MatchingTower
from models.gmn.neighbourhoods import Neighbourhoods
from models.input.catalogue import CatalogueTable
from models.input.vocabulary_sizes import VocabularySizes
from models.training.data import TrainingData
from models.two_tower.model import TwoTower


class GMN(TwoTower):
    """A two-tower whose query tower matches a user's neighbours in two graphs.

    The entities of `candidate_types`, say videos, are the nodes of one graph, all others, say
    the items of a shop, those of the other. The candidate tower knows no user.

    See `models.retrieval.model.RetrievalModel` for the arguments.
    """

    towers: GMNConfig

    def make_query_tower(self, sizes: VocabularySizes, table: CatalogueTable) -> MatchingTower:
        """Makes what embeds neighbourhoods.

        Raises:
            ValueError: All entities of the catalogue are candidates.
        """
        if len(self._candidate_ids) == len(table.ids):
            raise ValueError(
                f"`gmn` matches `candidate_types` ({', '.join(self.config.candidate_types)}) with "
                "entities of other types, of which the catalogue has none. Name one of the types "
                "alone, or choose the family `two_tower`."
            )
        query = self.towers.query
        is_candidate = np.zeros([sizes.entity], bool)
        is_candidate[self._candidate_ids] = True
        self.neighbourhoods = Neighbourhoods(
            is_candidate,
            query.neighbours,
            query.draw == "sampled",
            query.neighbour_dropout,
            query.training_neighbours,
        )
        return MatchingTower(self.towers.dim, query, sizes, self.neighbourhoods)

    def arrange(
        self, windows: Mapping[str, tf.Tensor], training: bool = False
    ) -> Mapping[str, tf.Tensor]:
        """Divides windows by kind; see the base class."""
        arranged: dict[str, tf.Tensor] = self.neighbourhoods(windows, training=training)
        return arranged

    def start(self, data: TrainingData) -> None:
        """Lets tables start as factors of the graph, where asked to; see the base class."""
        if self.towers.start == "graph":
            self.start_from_graph(*edges_of(data))

    def start_from_graph(self, users: np.ndarray, entities: np.ndarray) -> None:
        """Lets the tables of entities start as factors of a graph.

        Args:
            users: [E] int64, of each edge.
            entities: [E] int64, of each edge.

        Raises:
            ValueError: The graph has fewer factors than vectors have values.
        """
        ids = self.candidate_tower.ids
        factors = graph_factors(users, entities, ids.size, self.towers.dim, seed=self.config.seed)
        link = self.candidate_tower.features.bags.get("related")
        for layer in (ids, self.history_ids, link):
            if layer is not None:
                layer.table.assign(factors)
