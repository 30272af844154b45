"""What an image encoder may learn from page views, besides COURIER's reconstruction."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from models.courier import page_views as v
from models.courier.encoder import ImageEncoder
from models.courier.encoder import standardise
from models.courier.images import augment
from models.courier.losses import contrast


def co_click_losses(
    inputs: Mapping[str, tf.Tensor], vectors: tf.Tensor, temperature: float
) -> tf.Tensor:
    """Makes a clicked image like the one that was clicked before it (item to item).

    Args:
        inputs: A batch of page views of n images.
        vectors: [n, d] float32, of the images.
        temperature: tau.

    Returns:
        [A] float32, one for each clicked image with one before it.
    """
    newest = tf.gather(inputs[v.HISTORY][:, 0], inputs[v.SHOWN_PAGE])  # [P]
    there = tf.gather(inputs[v.HISTORY_ROW][:, 0], inputs[v.SHOWN_PAGE]) > 0
    anchors = tf.cast(tf.where(inputs[v.CLICKED] & there)[:, 0], tf.int32)  # [A]
    return contrast(
        tf.gather(vectors, tf.gather(newest, anchors)),
        tf.gather(vectors, inputs[v.SHOWN]),
        inputs[v.SHOWN_ROW],
        anchors,
        temperature,
    )


def simclr_losses(
    encoder: ImageEncoder, inputs: Mapping[str, tf.Tensor], seed: tf.Tensor, temperature: float
) -> tf.Tensor:
    """Tells two random views of one image from views of others.

    The form of Chen et al. 2020 (https://arxiv.org/abs/2002.05709) with negatives of the
    other view alone, and without a projection head.

    Args:
        encoder: Embeds the views.
        inputs: A batch of page views of n images, as pixels.
        seed: [2] int64, of the views.
        temperature: tau.

    Returns:
        [n] float32, the mean over both directions.
    """
    views = (augment(inputs[v.IMAGES], seed + step) for step in (0, 1))
    every = tf.range(tf.size(inputs[v.IMAGE_ROW]))
    one, other = (standardise(encoder.raw_vectors(view), every) for view in views)
    rows = inputs[v.IMAGE_ROW]
    forwards = contrast(one, other, rows, every, temperature)
    return (forwards + contrast(other, one, rows, every, temperature)) / 2.0
