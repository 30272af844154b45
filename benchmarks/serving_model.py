"""A retrieval SavedModel for load tests, where none was pushed.

It does the work of a small servable: look ids up, weigh the last events,
score every candidate exactly, mask what is excluded, return the best 100.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import serving  # noqa: F401  (sets the Keras version before TensorFlow is imported)

ITEMS = 10_000
DIMENSION = 64
K = 100
_WINDOW = 50


def entities() -> list[str]:
    """Returns the ids that the model knows."""
    return [f"item:{number}" for number in range(ITEMS)]


def save_model(path: Path, version: int) -> None:
    """Saves the model; ids come back as `v<version>:item:<number>`."""
    import numpy as np
    import tensorflow as tf

    module = tf.Module()
    names = entities()
    module.rows = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(names), tf.range(1, ITEMS + 1, dtype=tf.int32)
        ),
        default_value=0,
    )
    vectors = np.random.default_rng(0).normal(size=(ITEMS + 1, DIMENSION)) / DIMENSION**0.5
    module.vectors = tf.Variable(vectors.astype(np.float32), trainable=False)
    module.names = tf.Variable([f"v{version}:{name}" for name in names], trainable=False)

    def recommend(**inputs: Any) -> dict[str, Any]:
        steps = tf.shape(inputs["history_ids"])[1]
        length = tf.cast(inputs["history_length"], tf.int32)[:, None]  # [B, 1]
        position = tf.range(steps)[None]  # [1, T]
        real = (position < length) & (position >= length - _WINDOW)  # [B, T]
        weight = tf.where(real, tf.exp(tf.cast(position - length, tf.float32) / 20.0), 0.0)
        rows = module.rows.lookup(inputs["history_ids"])  # [B, T]
        query = tf.einsum("bt,btd->bd", weight, tf.gather(module.vectors, rows))
        scores = tf.linalg.matmul(query, module.vectors[1:], transpose_b=True)  # [B, N]
        asked = tf.shape(inputs["exclude_ids"])[1]
        excluded = tf.where(
            tf.sequence_mask(inputs["exclude_length"], asked),
            module.rows.lookup(inputs["exclude_ids"]),
            0,
        )  # [B, E]
        best = tf.math.top_k(scores, K)
        out = tf.reduce_any(best.indices[:, :, None] + 1 == excluded[:, None], axis=2)
        return {
            "ids": tf.where(out, "", tf.gather(module.names, best.indices)),
            "scores": tf.where(out, -float("inf"), best.values),
        }

    function = tf.function(recommend).get_concrete_function(**_inputs())
    tf.saved_model.save(module, str(path), signatures={"recommend": function})


def _inputs() -> dict[str, Any]:
    import tensorflow as tf

    shapes = {
        "history_ids": ([None, None], tf.string),
        "history_events": ([None, None], tf.string),
        "history_timestamps": ([None, None], tf.int64),
        "history_length": ([None], tf.int64),
        "exclude_ids": ([None, None], tf.string),
        "exclude_length": ([None], tf.int64),
        "request_time": ([None], tf.int64),
        "query": ([None], tf.string),
        "user_attributes": ([None, None], tf.string),
        "user_attributes_length": ([None], tf.int64),
    }
    return {name: tf.TensorSpec(shape, dtype, name) for name, (shape, dtype) in shapes.items()}
