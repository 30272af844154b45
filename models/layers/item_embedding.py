"""Id embeddings that know which ids training saw."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


class ItemEmbedding(tf.keras.layers.Layer):
    """Embeds item ids; ids that training never saw share the vector of the unknown item.

    The vector of the unknown item (row 0) is trained by hiding ids at random:
    then it stands for "an item known by its features alone", which is what an
    item outside training is.

    Args:
        size: The greatest id plus one.
        dim: d, length of a vector.
        id_dropout: How often training hides an id.
        known: [size] bool, which ids training sees; all but 0 when None.
        stddev: Deviation of the initial values; 0 starts all at zero.
    """

    def __init__(
        self,
        size: int,
        dim: int,
        id_dropout: float = 0.0,
        known: np.ndarray | None = None,
        stddev: float = 0.05,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.dim = dim
        self.id_dropout = id_dropout
        self.stddev = stddev
        self._initial_known = known

    def build(self, input_shape: Any) -> None:
        """Creates the table, [size, d], and the flags of known ids, [size]."""
        self.table = self.add_weight(
            name="table",
            shape=[self.size, self.dim],
            initializer=tf.keras.initializers.RandomNormal(stddev=self.stddev),
        )
        known = np.ones([self.size], bool) if self._initial_known is None else self._initial_known
        if known.shape != (self.size,):
            raise ValueError(
                f"`known` should say for each of the {self.size} ids whether training sees it; "
                f"received shape {known.shape}."
            )
        self.known = self.add_weight(
            name="known",
            shape=[self.size],
            dtype=tf.bool,
            initializer=lambda *_, **__: tf.constant(known),
            trainable=False,
        )
        super().build(input_shape)

    def call(self, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds ids.

        Args:
            ids: [...] int; an id that occurs twice in one call is dropped once
                but not the other time, so pass unique ids.
            training: Whether ids are dropped at random.

        Returns:
            [..., d] float32.
        """
        shown = tf.gather(self.known, ids)
        if training and self.id_dropout:
            shown &= tf.random.uniform(tf.shape(ids)) >= self.id_dropout
        return tf.gather(self.table, tf.where(shown, ids, tf.zeros_like(ids)))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor; `known` is a weight."""
        return super().get_config() | {
            "size": self.size,
            "dim": self.dim,
            "id_dropout": self.id_dropout,
            "stddev": self.stddev,
        }
