"""A small COURIER and fixed batches of it, for the workers of `replicas_test`."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import models  # noqa: F401  (before TensorFlow)
from models.courier.images import ImageTable
from models.courier.model import Courier
from models.courier.page_views import IMAGE_ROW
from models.courier.page_views import page_views
from models.courier.views import VIEWS
from models.courier.views import two_views
from models.input import batch as b
from models.input.page_batches import PageSpec
from models.input.windows import WindowSpec
from models.training.optimizers import make_optimizer
from tests.helpers.workers import steady_optimizer
from tests.models.courier.conftest import small

IMAGES, ROWS = 12, 6
PIXELS = np.random.default_rng(1).integers(0, 256, [IMAGES + 1, 8, 8, 3]).astype(np.uint8)


def make_courier(objective: str, optimizer: str) -> Courier:
    config = small(
        objective=objective,
        losses={"click": 1.0},
        trainer={
            "optimizer": steady_optimizer(optimizer),
        },
    )
    tf.keras.utils.set_random_seed(1)
    images = ImageTable(np.arange(IMAGES + 1, dtype=np.int32), PIXELS)
    made = Courier(config, images, PageSpec(WindowSpec(6), config.label))
    first = view_batch if objective == "simclr" else page_view_batch
    made.losses(first(0, slice(None)))  # makes the weights, as validation does
    made.compile(optimizer=make_optimizer(config.optimizer, 100))
    return made


def view_batch(step: int, part: slice) -> dict[str, tf.Tensor]:
    """Two views of some distinct images of a batch."""
    rows = np.random.default_rng(step).permutation(np.arange(1, IMAGES + 1, dtype=np.int32))[:ROWS]
    views = two_views(tf.constant(PIXELS[rows]), tf.constant([step, 1], tf.int64))
    return {VIEWS: views[:, part], IMAGE_ROW: tf.constant(rows[part])}


def page_view_batch(step: int, part: slice) -> dict[str, tf.Tensor]:
    """Some pages of a batch, with unequally many shown images each."""
    draw = np.random.default_rng(step)
    pages = {
        b.HISTORY_ENTITY: draw.integers(1, IMAGES + 1, (ROWS, 6)),
        b.HISTORY_LENGTH: np.array([6, 1, 2, 0, 4, 3]),
        b.CANDIDATE_ENTITY: draw.integers(1, IMAGES + 1, (ROWS, 4)),
        b.CANDIDATE_LENGTH: np.array([4, 2, 1, 3, 4, 2]),
        b.LABEL: draw.integers(0, 2, (ROWS, 4, 1)).astype(np.float32),
    }
    given = {name: tf.constant(values[part]) for name, values in pages.items()}
    row = tf.range(IMAGES + 1)
    return page_views(given, row, 3, lambda rows: tf.gather(PIXELS, rows))
