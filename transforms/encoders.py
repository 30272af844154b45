"""Vectors of titles and images by pretrained encoders, inside Transform's graph."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
import tensorflow_transform as tft

from transforms import features as f
from transforms.config import TransformConfig


def encoded_vectors(
    inputs: Mapping[str, tf.RaggedTensor], config: TransformConfig
) -> dict[str, tf.RaggedTensor]:
    """Encodes the titles and images of catalogue rows, where there is an encoder for them.

    The encoders become part of the graph, and so of every servable: a request's catalogue row
    is encoded as those of the log were. A row that has a vector keeps it.

    Args:
        inputs: The raw features, each [B, (values)].
        config: Says which encoders there are.

    Returns:
        `catalogue/text_vector` and `catalogue/image_vector`, each [B, (dimension)] float32, empty
        for rows without; those that have an encoder.
    """
    given = (
        (config.text_encoder, f.CATALOGUE_TITLE, f.CATALOGUE_TEXT_VECTOR),
        (config.image_encoder, f.CATALOGUE_IMAGE, f.CATALOGUE_IMAGE_VECTOR),
    )
    return {
        vector: _encode(path, inputs[source], inputs[vector], vector)
        for path, source, vector in given
        if path
    }


def _encode(
    path: str, values: tf.RaggedTensor, vectors: tf.RaggedTensor, name: str
) -> tf.RaggedTensor:
    """Encodes the first value of each row that has one and no vector."""
    model = tft.make_and_track_object(lambda: tf.saved_model.load(path), name=name)
    signature = model.signatures["serving_default"]
    [argument] = signature.structured_input_signature[1]
    wanted = (values.row_lengths() > 0) & (vectors.row_lengths() == 0)  # [B]
    first = tf.gather(values.flat_values, tf.boolean_mask(values.row_starts(), wanted))
    [encoded] = signature(**{argument: first}).values()  # [n, d]
    lengths = tf.where(wanted, tf.shape(encoded, tf.int64)[1], 0)
    flat = tf.reshape(tf.cast(encoded, tf.float32), [-1])
    return tf.concat([vectors, tf.RaggedTensor.from_row_lengths(flat, lengths)], axis=1)
