"""Step time of the sequence model by the size of the catalogue."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from benchmarks.random_catalogue import draw_items
from benchmarks.random_catalogue import random_catalogue
from models.fixed_values import retrieval_trainer

if TYPE_CHECKING:
    from models.sequence.model import SequenceModel

SMALL, LARGE = 10_000, 1_000_000
ROWS, LENGTH = 40, 100
WARM_UP, STEPS, BATCHES = 5, 40, 8
CONFIG = retrieval_trainer(
    {"model": {"family": "sequence", "loss": {"negatives": 1024}}, "exclude_seen": ["*"]}
)


def step_time_ratio() -> float:
    """Returns how much longer a step takes with `LARGE` items than with `SMALL`.

    The events of a batch are as many distinct items in both; its 1,024 negatives are drawn
    from each catalogue. The two models take turns, so that whatever else the machine
    does meets both.
    """
    import tensorflow as tf

    times: dict[int, list[float]] = {SMALL: [], LARGE: []}
    steps, batches = {}, {}
    for items in times:
        model = make_model(items)
        stride = items // SMALL
        batches[items] = [make_batch(stride, seed) for seed in range(BATCHES)]
        steps[items] = tf.function(model.train_step, reduce_retracing=True)
    for turn in range(WARM_UP + STEPS):
        for items, step in steps.items():
            start = time.perf_counter()
            step(batches[items][turn % BATCHES])
            if turn >= WARM_UP:
                times[items].append(time.perf_counter() - start)
    return statistics.median(times[LARGE]) / statistics.median(times[SMALL])


def make_model(items: int) -> SequenceModel:
    """Makes a sequence model over so many items, each with a category and title words."""
    import models  # noqa: F401  (before TensorFlow)
    from models.sequence.model import SequenceModel
    from models.training.optimizers import make_optimizer

    model = SequenceModel(CONFIG, *random_catalogue(items), seen_types=None)
    model.compile(optimizer=make_optimizer(CONFIG.optimizer, 100_000))
    return model


def make_batch(stride: int, seed: int) -> dict[str, Any]:
    """Makes sequences of items drawn by a power law; item r of `SMALL` has the id r * stride.

    The first place is the start token's, whatever item is there.
    """
    import tensorflow as tf

    from models.input import batch as b

    events = draw_items(np.random.default_rng(seed), SMALL, (ROWS, LENGTH + 1)) * stride
    return {
        b.SEQUENCE_ENTITY: tf.constant(events[:, :-1]),
        b.SEQUENCE_TYPE: tf.ones([ROWS, LENGTH], tf.int64),
        b.SEQUENCE_LENGTH: tf.fill([ROWS], tf.constant(LENGTH, tf.int64)),
        b.SEQUENCE_QUERY: tf.ones([ROWS, LENGTH], tf.bool),
        b.SEQUENCE_TARGET: tf.constant(events[:, 1:]),
    }
