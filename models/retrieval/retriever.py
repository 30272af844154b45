"""Protocol of a retrieval model, as signatures and ranking use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import tensorflow as tf

from models.input.windows import WindowSpec
from models.layers.mixture import Queries


class Retriever(Protocol):
    """A model with a query tower and a candidate tower; a `tfrs.Model` besides."""

    def window_spec(self, training: bool) -> WindowSpec:
        """Returns what the windows hold that the model reads."""

    def embed_queries(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> Queries:
        """Embeds B windows (`models.input.batch`): [B, d], [B, K, d], or a mixture of K."""

    def embed_items(self, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds items of the catalogue: [N] int64 entity indices -> [N, d]."""

    def embed_features(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Embeds items by their features (`models.input.catalogue`): N rows -> [N, d]."""

    @property
    def feature_widths(self) -> dict[str, int]:
        """The width of each catalogue feature that `embed_features` reads."""
