"""Images of the catalogue as pixels: each is decoded once, however often it was shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from models.input.timeline_files import Spec
from transforms import features as f


@dataclasses.dataclass(frozen=True)
class ImageTable:
    """Decoded images, in the memory of the host.

    Attributes:
        row: [V + 1] int32, the image of each entity; 0 is none.
        pixels: [n + 1, height, width, 3] uint8; image 0 is blank.
    """

    row: np.ndarray
    pixels: np.ndarray

    def __len__(self) -> int:
        """Number of images, the blank one apart."""
        return len(self.pixels) - 1


def decode_image(image: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Decodes an image and resizes it by area, whatever its proportions.

    Args:
        image: Scalar string, JPEG or PNG.
        height: In pixels.
        width: In pixels.

    Returns:
        [height, width, 3] uint8.
    """
    pixels = tf.io.decode_image(image, channels=3, expand_animations=False)
    resized = tf.image.resize(pixels, [height, width], method="area")
    return tf.cast(tf.round(resized), tf.uint8)


def load_images(
    files: Sequence[str],
    spec: Spec,
    size: int,
    height: int,
    width: int,
    types: Sequence[str] = ("*",),
) -> ImageTable:
    """Reads the images of the transformed catalogue split; broken ones are left out.

    Args:
        files: Gzipped TFRecord files of transformed catalogue rows.
        spec: The transformed feature spec.
        size: V + 1, the greatest entity index plus one.
        height: That images are resized to, in pixels.
        width: Likewise.
        types: Entity types whose images are read; `*` is all.

    Returns:
        The images of known entities.

    Raises:
        ValueError: No known entity of these types has an image that can be read.
    """
    wanted = {
        name: spec[name] for name in (f.CATALOGUE_ENTITY, f.CATALOGUE_TYPE, f.CATALOGUE_IMAGE)
    }
    parallel = tf.data.AUTOTUNE

    @tf.autograph.experimental.do_not_convert
    def with_image(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = tf.io.parse_example(batch, wanted)
        image = rows[f.CATALOGUE_IMAGE].to_tensor("", shape=[None, 1])[:, 0]
        entity = rows[f.CATALOGUE_ENTITY].to_tensor(0, shape=[None, 1])[:, 0]
        kind = rows[f.CATALOGUE_TYPE].to_tensor("", shape=[None, 1])[:, 0]
        kept = (tf.strings.length(image) > 0) & (entity > 0)
        if "*" not in types:
            kept &= tf.reduce_any(tf.equal(kind[:, None], tf.constant(list(types))), axis=1)
        return tf.boolean_mask(entity, kept), tf.boolean_mask(image, kept)

    @tf.autograph.experimental.do_not_convert
    def decode(entity: tf.Tensor, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return entity, decode_image(image, height, width)

    records = tf.data.TFRecordDataset(list(files), "GZIP").batch(256)
    rows = records.map(with_image, num_parallel_calls=parallel).unbatch()
    sound = rows.map(decode, num_parallel_calls=parallel).ignore_errors(log_warning=True)
    batches = list(sound.batch(256).as_numpy_iterator())
    if not batches:
        raise ValueError(
            f"Expected images of entities of the types {list(types)} in the catalogue, found none "
            "that can be read. Fill the column `image` of the event log, and set "
            "`timeline.include_images`."
        )
    entity = np.concatenate([part for part, _ in batches])
    blank = np.zeros([1, height, width, 3], np.uint8)
    row = np.zeros([size], np.int32)
    row[entity] = 1 + np.arange(len(entity))
    return ImageTable(row, np.concatenate([blank, *(part for _, part in batches)]))


def augment(pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Makes a random view of each image: a crop of half to all of its area, mirrored or not.

    Colours are kept but for brightness, since they are what goods are looked at for.

    Args:
        pixels: [n, height, width, 3] uint8.
        seed: [2] int64.

    Returns:
        [n, height, width, 3] float32 in 0 .. 255.
    """
    number = tf.shape(pixels)[0]
    draws = tf.random.stateless_uniform([5, number], seed)
    side = tf.sqrt(0.5 + 0.5 * draws[0])  # [n], of height and width alike
    top, left = (1.0 - side) * draws[1], (1.0 - side) * draws[2]
    # A box that runs from right to left is a mirrored one.
    mirrored = draws[3] < 0.5
    start = tf.where(mirrored, left + side, left)
    end = tf.where(mirrored, left, left + side)
    boxes = tf.stack([top, start, top + side, end], axis=1)
    size = pixels.shape[1:3]
    views = tf.image.crop_and_resize(tf.cast(pixels, tf.float32), boxes, tf.range(number), size)
    brightness = 0.8 + 0.4 * draws[4]
    return tf.clip_by_value(views * brightness[:, None, None, None], 0.0, 255.0)
