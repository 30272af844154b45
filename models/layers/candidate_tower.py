"""The candidate tower: an item's id and catalogue features as one vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from models.input import catalogue as c
from models.input.catalogue import CatalogueTable
from models.input.config import CandidateTowerConfig
from models.input.vocabulary_sizes import VocabularySizes
from models.layers.item_embedding import ItemEmbedding
from models.layers.item_features import ItemFeatures
from models.layers.mlp import MLP


class CandidateTower(tf.keras.layers.Layer):
    """Embeds items by id and features.

        out = E[id] + features(item),   or W of that through hidden layers

    An item that training never had as a target has the unknown item's E, so its
    features decide; hiding ids in training prepares for that.

    Args:
        dim: d, length of an embedding.
        config: How an item becomes a vector.
        sizes: Sizes of the vocabularies.
        table: Catalogue features by entity index.
        known: [V + 1] bool, which entities training has as targets.
    """

    def __init__(
        self,
        dim: int,
        config: CandidateTowerConfig,
        sizes: VocabularySizes,
        table: CatalogueTable,
        known: np.ndarray,
    ) -> None:
        super().__init__(name="candidate_tower")
        buckets = int(table.features[c.PRICE_BUCKET].max()) + 1 if c.PRICE in table.features else 1
        self.ids = ItemEmbedding(sizes.entity, dim, config.id_dropout, known, name="ids")
        self.features = ItemFeatures(dim, sizes, table.embedded, buckets)
        self.widths = table.widths
        self.refine = MLP(config.hidden_units, dim, name="refine") if config.hidden_units else None
        self._tables = {
            name: self.add_weight(
                name="catalogue_" + name.replace("/", "_"),
                shape=values.shape,
                dtype=values.dtype,
                initializer=lambda *_, values=values, **__: tf.constant(values),
                trainable=False,
            )
            for name, values in table.features.items()
        }
        self.folded: tf.Variable | None = None  # the vectors of all entities

    def call(self, features: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Embeds items whose features are given.

        Args:
            features: `entity` [N] int64 and the catalogue's features, each [N, width].
            training: Whether ids are dropped at random; an id that occurs twice
                is then dropped once but not the other time, so pass distinct ids.

        Returns:
            [N, d] float32.
        """
        return self.combine(features[c.ENTITY], self.describe(features), training)

    def embed(self, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds ids by the catalogue.

        Args:
            ids: [N] int64; each distinct one is embedded once.
            training: Whether ids are dropped at random.

        Returns:
            [N, d] float32; outside of training from the table, where `fold` has made one.
        """
        if self.folded is not None and not training:
            return tf.gather(self.folded, ids)
        distinct, position = tf.unique(ids)
        vectors = self.combine(distinct, self.describe(self.look_up(distinct)), training)
        return tf.gather(vectors, position)

    def fold(self, vectors: np.ndarray) -> None:
        """Keeps vectors of the catalogue, so that `embed` looks them up.

        Args:
            vectors: [V + 1, d] float32, what `embed` returns for all entities.
        """
        if self.folded is None:
            given: dict[str, Any] = {"initializer": "zeros", "trainable": False}
            self.folded = self.add_weight(name="folded", shape=vectors.shape, **given)
        self.folded.assign(vectors)

    def look_up(self, ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the catalogue's features of [N] int64 ids, each [N, width]."""
        found = {name: tf.gather(table, ids) for name, table in self._tables.items()}
        return found | {c.ENTITY: ids}

    def look_up_one(self, name: str, ids: tf.Tensor) -> tf.Tensor:
        """Returns one feature of the catalogue of [...] int64 ids, [..., width]."""
        return tf.gather(self._tables[name], ids)

    def describe(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor | None:
        """Returns what items are like, [N, d] float32, or None when no feature is read."""
        return None if self.features.is_empty else self.features(features)

    def combine(
        self, ids: tf.Tensor, described: tf.Tensor | None, training: bool = False
    ) -> tf.Tensor:
        """Joins [N] distinct ids with what `describe` says of them: [N, d] float32."""
        vector = self.ids(ids, training=training)
        if described is not None:
            vector += described
        return vector if self.refine is None else self.refine(vector, training=training)
