"""Page views: the images that were shown, which were clicked, and the last ones before them."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping

import tensorflow as tf

from models.input import batch as b
from models.input.page_batches import candidate_mask

# A batch of page views of n distinct images, P shown ones of B pages.
IMAGES = "images"  # [n, ...], pixels or features of the distinct images
IMAGE_ROW = "image_row"  # [n] int32, their rows in the table of images
SHOWN = "shown"  # [P] int32, which of the n
SHOWN_ROW = "shown_row"  # [P] int32, the row of each in the table of images
SHOWN_PAGE = "shown_page"  # [P] int64, the page of each, ascending
CLICKED = "clicked"  # [P] bool
HISTORY = "history"  # [B, T] int32, which of the n, newest first
HISTORY_ROW = "history_row"  # [B, T] int32, rows in the table of images; 0 is none


def last_images(batch: Mapping[str, tf.Tensor], row: tf.Tensor, history: int) -> tf.Tensor:
    """Finds the last distinct images before each page.

    Args:
        batch: Pages by name (`models.input.batch`), B rows with windows of W events.
        row: [V + 1] int32, the image of each entity; 0 is none.
        history: T, how many.

    Returns:
        [B, T] int32, rows in the table of images, newest first; 0 is none.
    """
    events = batch[b.HISTORY_ENTITY]  # [B, W]
    there = tf.sequence_mask(batch[b.HISTORY_LENGTH], tf.shape(events)[1])
    rows = tf.where(there, tf.gather(row, events), 0)
    # A click, a cart and a purchase of one item are one image: it would be its own answer.
    same = tf.equal(rows[:, :, None], rows[:, None, :])  # [B, W, W]
    earlier = tf.linalg.band_part(tf.ones_like(same, tf.int32), -1, 0) - tf.linalg.diag(
        tf.ones_like(rows)
    )
    repeated = tf.reduce_any(same & (earlier > 0), axis=2)
    return tf.ragged.boolean_mask(rows, (rows > 0) & ~repeated).to_tensor(shape=[None, history])


def shown_images(batch: Mapping[str, tf.Tensor], row: tf.Tensor) -> tf.Tensor:
    """Returns which candidates of pages have an image: [B, C] bool."""
    return candidate_mask(batch) & (tf.gather(row, batch[b.CANDIDATE_ENTITY]) > 0)


def clicked_images(batch: Mapping[str, tf.Tensor], row: tf.Tensor) -> tf.Tensor:
    """Returns which candidates of pages have an image and were clicked: [B, C] bool."""
    return shown_images(batch, row) & (tf.reduce_max(batch[b.LABEL], axis=2) > 0.0)


def pages_to_learn(
    batch: Mapping[str, tf.Tensor], row: tf.Tensor, history: int, clicked: bool
) -> dict[str, tf.Tensor]:
    """Keeps the pages with images before them, on which an image was clicked, or also just shown.

    Args:
        batch: Pages by name (`models.input.batch`), B rows of C candidates.
        row: [V + 1] int32, the image of each entity; 0 is none.
        history: T, the last distinct images that are read.
        clicked: Leaves out pages without a clicked image. Where a click is told from what other
            pages show, they are its negatives.
    """
    images = clicked_images(batch, row) if clicked else shown_images(batch, row)
    kept = tf.reduce_any(images, axis=1) & (last_images(batch, row, history)[:, 0] > 0)
    return {name: tf.boolean_mask(values, kept) for name, values in batch.items()}


def page_views(
    batch: Mapping[str, tf.Tensor],
    row: tf.Tensor,
    history: int,
    look_up: Callable[[tf.Tensor], tf.Tensor],
) -> dict[str, tf.Tensor]:
    """Makes page views of a batch of pages.

    Args:
        batch: Pages by name (`models.input.batch`), B rows of C candidates.
        row: [V + 1] int32, the image of each entity; 0 is none.
        history: T, the last distinct images that are read.
        look_up: Returns pixels or features of [n] int32 rows, [n, ...].

    Returns:
        By the names of this module; candidates without an image are left out.
    """
    there = shown_images(batch, row)  # [B, C]
    before = last_images(batch, row, history)  # [B, T]
    shown_row = tf.boolean_mask(tf.gather(row, batch[b.CANDIDATE_ENTITY]), there)  # [P]
    every = tf.concat([shown_row, tf.reshape(before, [-1])], axis=0)
    distinct, position = tf.unique(every)
    number = tf.size(shown_row)
    return {
        IMAGES: look_up(distinct),
        IMAGE_ROW: distinct,
        SHOWN: position[:number],
        SHOWN_ROW: shown_row,
        SHOWN_PAGE: tf.where(there)[:, 0],
        CLICKED: tf.boolean_mask(clicked_images(batch, row), there),
        HISTORY: tf.reshape(position[number:], tf.shape(before)),
        HISTORY_ROW: before,
    }
