"""What an image encoder may learn from besides COURIER's reconstruction: co-clicks, or views."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from models.courier import page_views as v
from models.courier.encoder import ImageEncoder
from models.courier.encoder import standardise
from models.courier.losses import contrast
from models.courier.views import VIEWS


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
    encoder: ImageEncoder, inputs: Mapping[str, tf.Tensor], temperature: float
) -> tf.Tensor:
    """Tells two random views of one image from all views of others (NT-Xent).

        loss[i] = -log( e^{cos(z[i], z[j]) / tau} / sum_{k != i} e^{cos(z[i], z[k]) / tau} )

    with z the vectors of 2 n views, and j the other view of i's image. The encoder's linear layer
    stands where the paper has a projection head: the backbone's features are what is before it.
    (Chen et al. 2020, SimCLR, https://arxiv.org/abs/2002.05709)

    Args:
        encoder: Embeds the views.
        inputs: A batch of two views of n distinct images (`models.courier.views`).
        temperature: tau.

    Returns:
        [2 n] float32, one for each view.
    """
    views = inputs[VIEWS]
    rows = tf.tile(inputs[v.IMAGE_ROW], [2])  # [2 n]
    every = tf.range(tf.size(rows))
    raw = encoder.raw_vectors(tf.reshape(views, tf.concat([[-1], tf.shape(views)[2:]], axis=0)))
    vectors = standardise(raw, every)
    other = tf.roll(every, tf.size(rows) // 2, axis=0)
    return contrast(vectors, vectors, rows, other, temperature)
