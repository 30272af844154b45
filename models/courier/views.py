"""Batches of SimCLR: two random views of each image of the catalogue, and no clicks."""

from __future__ import annotations

import tensorflow as tf

from models.courier.images import ImageTable
from models.courier.images import augment
from models.courier.page_views import IMAGE_ROW
from models.training.replicas import WHOLE
from models.training.replicas import InputPart

# Beside IMAGE_ROW [n] int32, the rows of the distinct images of a batch.
VIEWS = "views"  # [2, n, height, width, 3] float32, the first view of each and the second


def view_batches(
    images: ImageTable, batch_size: int, seed: int, part: InputPart = WHOLE
) -> tf.data.Dataset:
    """Makes batches of views, of which an epoch has each image once.

    Every epoch shuffles all images anew and draws new views; equal seeds do so equally.

    Args:
        images: Of the catalogue; the blank one is left out.
        batch_size: Images in a batch of all replicas.
        seed: Of shuffles and views.
        part: The images that are read, and how many replicas share a batch.

    Returns:
        Dataset of dictionaries of `IMAGE_ROW` and `VIEWS`; the last one of an epoch may have fewer
        images.
    """
    number = len(images)
    with tf.device("CPU"):  # images of a large catalogue are more than a GPU holds
        pixels = tf.constant(images.pixels)
    rows = tf.data.Dataset.range(1, number + 1, output_type=tf.int32).shuffle(number, seed)
    batches = rows.shard(part.number, part.index).batch(max(1, batch_size // part.replicas))
    # Workers have images of their own, and draw their views alike.
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)

    @tf.autograph.experimental.do_not_convert
    def with_views(chosen: tf.Tensor, drawn: tf.Tensor) -> dict[str, tf.Tensor]:
        return {IMAGE_ROW: chosen, VIEWS: two_views(tf.gather(pixels, chosen), drawn)}

    zipped = tf.data.Dataset.zip((batches, seeds))
    return zipped.map(with_views, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def two_views(pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Makes two random views of each image.

    Args:
        pixels: [n, height, width, 3] uint8.
        seed: [2] int64.

    Returns:
        [2, n, height, width, 3] float32 in 0 .. 255.
    """
    drawn = augment(tf.concat([pixels, pixels], axis=0), seed)
    return tf.reshape(drawn, tf.concat([[2], tf.shape(pixels)], axis=0))
