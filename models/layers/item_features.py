"""Item features as one vector."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from models.input import catalogue as c
from models.input.vocabulary_sizes import VocabularySizes
from models.layers.embedding_bag import EmbeddingBag


class ItemFeatures(tf.keras.layers.Layer):
    """Sums linear embeddings of an item's catalogue features.

        out = sum over token features of EmbeddingBag(tokens)
            + W_p [price, known] + P[price bucket]
            + sum over vector features of W_v v / |v|

    Features that the catalogue lacks have no weights. An item without tokens or vector
    of a feature gets nothing added for it: embeddings of padding are zero, and so is W_v 0.

    Args:
        dim: d, length of the sum.
        sizes: Sizes of the vocabularies.
        widths: Width of each feature by name (`CatalogueTable.widths`).
        price_buckets: The greatest price bucket plus one.
    """

    def __init__(
        self,
        dim: int,
        sizes: VocabularySizes,
        widths: Mapping[str, int],
        price_buckets: int = 1,
        name: str = "item_features",
    ) -> None:
        super().__init__(name=name)
        tokens = {
            "categories": sizes.category,
            "attributes": sizes.attribute,
            "title": sizes.title_token,
            "related": sizes.entity,
            **sizes.declared,
        }
        self.bags = {
            key: EmbeddingBag(size, dim, name=_layer_name(key))
            for key, size in tokens.items()
            if widths.get(key)
        }
        self.vectors = {
            key: tf.keras.layers.Dense(dim, use_bias=False, name=_layer_name(key))
            for key in (*c.VECTORS, *filter(c.is_vector, c.declared(widths)))
            if widths.get(key)
        }
        self.has_price = bool(widths.get(c.PRICE))
        self.price_buckets = price_buckets
        if self.has_price:
            self.price = tf.keras.layers.Dense(dim, use_bias=False, name="price")
            self.bucket = EmbeddingBag(price_buckets, dim, name="price_bucket")

    @property
    def is_empty(self) -> bool:
        """True where the catalogue has no feature, so that the sum is always zero."""
        return not (self.bags or self.vectors or self.has_price)

    def call(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Embeds items.

        Args:
            features: By name (`models.input.catalogue`), each [N, width].

        Returns:
            [N, d] float32.
        """
        return tf.add_n(list(self.parts(features).values()))

    def parts(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Embeds each feature by itself.

        Args:
            features: By name (`models.input.catalogue`), each [N, width].

        Returns:
            What is summed, by name, [N, d] float32 each.
        """
        parts = {key: bag(features[key]) for key, bag in self.bags.items()}
        for key, dense in self.vectors.items():
            parts[key] = dense(tf.math.l2_normalize(features[key], axis=1))
        if self.has_price:
            bucket = tf.minimum(features[c.PRICE_BUCKET], self.price_buckets - 1)
            parts[c.PRICE] = self.price(features[c.PRICE])
            parts[c.PRICE_BUCKET] = self.bucket(bucket)
        return parts


def _layer_name(feature: str) -> str:
    """Returns `token_<name>` for `token/<name>`: a slash would part scopes of names."""
    return feature.replace("/", "_")
