"""Quantised vectors in blocks, stored as float32, bfloat16 or int8, multiplied in float32."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

FLOAT32 = "float32"
BFLOAT16 = "bfloat16"
INT8 = "int8"


class QuantisedVectors(tf.Module):
    """Blocks of vectors in a type that takes 4, 2 or 1 bytes a value.

    `bfloat16` keeps 8 bits of each value. `int8` divides a vector by a scale of its
    own, its largest value over 127, and rounds. Products are made in float32: narrower
    vectors spare memory, which is what a GPU has least of, and no time on a CPU.

    Args:
        blocks: [C, S, d] float32.
        kind: `float32`, `bfloat16` or `int8`.
        name: Of the module.

    Raises:
        ValueError: There is no such kind.
    """

    def __init__(self, blocks: np.ndarray, kind: str = FLOAT32, name: str = "blocks") -> None:
        super().__init__(name=name)
        self.dim = blocks.shape[2]
        self.scale = None
        if kind == INT8:
            scale = np.maximum(np.abs(blocks).max(axis=2) / 127.0, 1e-30).astype(np.float32)
            blocks = np.rint(blocks / scale[:, :, None]).astype(np.int8)
            self.scale = tf.Variable(scale, trainable=False, name="scale")  # [C, S]
        elif kind == BFLOAT16:
            blocks = blocks.astype(tf.bfloat16.as_numpy_dtype)
        elif kind != FLOAT32:
            raise ValueError(
                f"Expected vectors stored as {FLOAT32}, {BFLOAT16} or {INT8}. Received: {kind!r}."
            )
        self.values = tf.Variable(blocks, trainable=False, name="values")  # [C, S, d]

    def products(self, chosen: tf.Tensor, query: tf.Tensor) -> tf.Tensor:
        """Multiplies chosen blocks with queries: [B, P] int32, [B, d] -> [B, P, S] float32."""
        values = tf.gather(self.values, chosen)  # [B, P, S, d]
        wide = [tf.shape(query)[0], values.shape[1] * values.shape[2], self.dim]
        products = tf.linalg.matvec(_float32(tf.reshape(values, wide)), query)  # [B, P * S]
        products = tf.reshape(products, tf.shape(values)[:3])
        return products if self.scale is None else products * tf.gather(self.scale, chosen)

    def all_products(self, query: tf.Tensor) -> tf.Tensor:
        """Multiplies every vector with queries: [B, d] -> [B, C * S] float32."""
        values = _float32(tf.reshape(self.values, [-1, self.dim]))
        products = tf.matmul(query, values, transpose_b=True)
        return products if self.scale is None else products * tf.reshape(self.scale, [1, -1])

    def at(self, position: tf.Tensor) -> tf.Tensor:
        """Returns single vectors: [..., 2] int32, block and slot -> [..., d] float32."""
        values = _float32(tf.gather_nd(self.values, position))
        return (
            values if self.scale is None else values * tf.gather_nd(self.scale, position)[..., None]
        )


def _float32(values: tf.Tensor) -> tf.Tensor:
    return values if values.dtype == tf.float32 else tf.cast(values, tf.float32)
