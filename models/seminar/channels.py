"""Items of several channels, projected and fused by a gate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from models.input import catalogue as c
from models.input.catalogue import CatalogueTable
from models.input.vocabulary_sizes import VocabularySizes
from models.layers.candidate_tower import CandidateTower
from models.seminar.config import ChannelsConfig


class ChannelTower(CandidateTower):
    """Embeds items by the channels that the catalogue has.

        out = sum_m g_m G_m e_m,   g = softmax(gate)
        e_attributes = E[id] + categories, attributes, price ..
        e_image, e_text = linear maps of the frozen vectors, and bags of the title's words

    The gate is one for all items. See `models.layers.candidate_tower.CandidateTower` for the
    arguments; the configuration says which features make a channel.
    """

    def __init__(
        self,
        dim: int,
        config: ChannelsConfig,
        sizes: VocabularySizes,
        table: CatalogueTable,
        known: np.ndarray,
    ) -> None:
        super().__init__(dim, config, sizes, table, known)
        self.dim = dim
        named = {"image": config.image, "text": config.text}
        self._channel_of = {name: key for key, names in named.items() for name in names}
        self.channels = (
            "attributes",
            *(key for key, names in named.items() if any(map(table.widths.get, names))),
        )
        self.projections = [
            tf.keras.layers.Dense(dim, use_bias=False, name=f"{channel}_projection")
            for channel in self.channels
        ]
        self.gate = self.add_weight(name="gate", shape=[len(self.channels)], initializer="zeros")

    def describe(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns the channels of items without their ids, [N, M, d] float32."""
        nothing = tf.zeros([tf.size(features[c.ENTITY]), self.dim])
        parts: dict[str, list[tf.Tensor]] = {channel: [] for channel in self.channels}
        with tf.name_scope(self.features.name):  # a warm start tells weights by their names
            found = self.features.parts(features)
        for name, part in found.items():
            parts[self._channel_of.get(name, self.channels[0])].append(part)
        return tf.stack([tf.add_n(parts[one] or [nothing]) for one in self.channels], axis=1)

    def embed_channels(
        self, ids: tf.Tensor, described: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """Adds [N] distinct ids to what `describe` says of them: [N, M, d] float32."""
        own = self.ids(ids, training=training)[:, None]
        return tf.concat([described[:, :1] + own, described[:, 1:]], axis=1)

    def combine(
        self, ids: tf.Tensor, described: tf.Tensor | None, training: bool = False
    ) -> tf.Tensor:
        """Fuses the channels of [N] distinct ids: [N, d] float32; see the base class."""
        assert described is not None
        return self.fuse(self.embed_channels(ids, described, training))

    def fuse(self, channels: tf.Tensor) -> tf.Tensor:
        """Projects channels and sums them by the gate: [N, M, d] -> [N, d] float32."""
        shares = tf.unstack(tf.nn.softmax(self.gate))
        given = zip(shares, self.projections, tf.unstack(channels, axis=1), strict=True)
        return tf.add_n([share * project(vectors) for share, project, vectors in given])

    def search_channels(self, vectors: tf.Tensor) -> tf.Tensor:
        """Folds gate and projections into vectors that items are multiplied with.

        Args:
            vectors: [..., d] float32.

        Returns:
            [..., M, d] float32, whose products with an item's channels sum to that of the
            vector and the item. Only once items were embedded, which makes the weights.
        """
        shares = tf.unstack(tf.nn.softmax(self.gate))
        folded = [
            share * tf.tensordot(vectors, project.kernel, [[-1], [1]])
            for share, project in zip(shares, self.projections, strict=True)
        ]
        return tf.stack(folded, axis=-2)
