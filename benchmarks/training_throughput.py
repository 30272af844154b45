"""Training throughput of the two-tower, and what holds it up.

    python -m benchmarks.training_throughput

The log has 1,000,000 events of 6,000 users on 10,000 items (power-law
popularity and activity) as transformed timelines; each item has a category and
title words. Rows, each with the load average of the machine before the run:

- `input_pipeline`: examples a second that the input pipeline gives to whoever
  takes them at once.
- `training_cached_batch`: examples a second of training on one batch held in
  memory, so with an input pipeline that costs nothing.
- `training_two_tower`: examples a second of training from files, as the Trainer does.
- `step_time_ratio_vocabulary_1e6_over_1e4`: step time with 1,000,000 items over that
  with 10,000, on batches with equally many distinct items; `..._own_popularity`
  on batches of each catalogue's own power law, where the larger one has more
  distinct items to embed.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from benchmarks.random_catalogue import draw_items
from benchmarks.random_catalogue import random_catalogue
from benchmarks.results import Results
from benchmarks.results_table import render
from models.fixed_values import retrieval_trainer
from transforms import features as f

if TYPE_CHECKING:
    import tensorflow as tf

    from models.two_tower.model import TwoTower

USERS, EVENTS, ITEMS = 6_000, 1_000_000, 10_000
SMALL, LARGE = 10_000, 1_000_000
WARM_UP, BATCHES = 10, 200
CONFIG = retrieval_trainer(
    {"model": {"query": {"use_user_attributes": False}}, "exclude_seen": ["*"]}
)

Batch = dict[str, Any]


def main() -> None:
    """Measures what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs")
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    command = "python -m benchmarks.training_throughput"
    results = Results("training_throughput", command, arguments.fresh)
    configuration = {
        "trainer": CONFIG.model_dump(mode="json"),
        "log": {"events": EVENTS, "users": USERS, "items": ITEMS},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "timelines.gz"
        for repetition in range(arguments.repetitions):
            for name, unit, measure in _measurements(path):
                results.measure(
                    {"name": name, "unit": unit},
                    repetition,
                    functools.partial(_measured, measure),
                    configuration,
                )
    print(render(results.path, ("name", "unit", "value", "load", "runs"), 3))


def _measured(measure: Callable[[], float]) -> dict[str, float]:
    load = os.getloadavg()[0]
    return {"value": measure(), "load": load}


def _measurements(path: Path) -> Iterator[tuple[str, str, Callable[[], float]]]:
    """Yields the name, the unit and the function of every measurement."""
    ratio = "step_time_ratio_vocabulary_1e6_over_1e4"
    yield "input_pipeline", "examples/s", lambda: input_pipeline(path)
    yield "training_cached_batch", "examples/s", lambda: training(path, cached=True)
    yield "training_two_tower", "examples/s", lambda: training(path, cached=False)
    yield ratio, "", lambda: step_time_ratio(own_popularity=False)
    yield f"{ratio}_own_popularity", "", lambda: step_time_ratio(own_popularity=True)


def input_pipeline(path: Path) -> float:
    """Returns the examples a second that the input pipeline cuts."""
    batches = iter(_batches(path, make_model(ITEMS)))
    for _ in range(WARM_UP):
        next(batches)
    start = time.perf_counter()
    for _ in range(BATCHES):
        next(batches)
    return BATCHES * CONFIG.input.batch_size / (time.perf_counter() - start)


def training(path: Path, cached: bool) -> float:
    """Returns the examples a second of training, on one batch or from the files."""
    import tensorflow as tf

    model = make_model(ITEMS)
    batches = _batches(path, model)
    if cached:
        batches = tf.data.Dataset.from_tensors(next(iter(batches))).repeat()
    step = _step(model)
    taken = iter(batches)
    for batch in islice(taken, WARM_UP):
        step(batch)
    start = time.perf_counter()
    for batch in islice(taken, BATCHES):
        step(batch)
    return BATCHES * CONFIG.input.batch_size / (time.perf_counter() - start)


def step_time_ratio(own_popularity: bool) -> float:
    """Returns how much longer a step takes with `LARGE` items than with `SMALL`.

    The two models take turns, so that whatever else the machine does meets both.
    """
    times: dict[int, list[float]] = {SMALL: [], LARGE: []}
    steps, batches = {}, {}
    for items in times:
        model = make_model(items)
        drawn = items if own_popularity else SMALL
        batches[items] = [make_batch(model, drawn, items // drawn, seed) for seed in range(8)]
        steps[items] = _step(model)
    for turn in range(WARM_UP + BATCHES // 2):
        for items, step in steps.items():
            start = time.perf_counter()
            step(batches[items][turn % 8])
            if turn >= WARM_UP:
                times[items].append(time.perf_counter() - start)
    return statistics.median(times[LARGE]) / statistics.median(times[SMALL])


def make_model(items: int) -> TwoTower:
    """Makes a two-tower over so many items, each with a category and title words."""
    from models.training.optimizers import make_optimizer
    from models.two_tower.model import TwoTower

    model = TwoTower(CONFIG, *random_catalogue(items), seen_types=None)
    model.compile(optimizer=make_optimizer(CONFIG.optimizer, 100_000))
    return model


def make_batch(model: TwoTower, items: int, stride: int, seed: int) -> Batch:
    """Makes a batch of items drawn by a power law; item r of them has the id r * stride."""
    import tensorflow as tf

    from models.input import batch as b

    windows, size = model.window_spec(training=True), CONFIG.input.batch_size
    generator = np.random.default_rng(seed)

    def draw(*shape: int) -> tf.Tensor:
        return tf.constant(draw_items(generator, items, shape) * stride)

    seen = draw(size, windows.seen)
    return {
        b.HISTORY_ENTITY: seen[:, : windows.window],
        b.HISTORY_TYPE: tf.ones([size, windows.window], tf.int64),
        b.HISTORY_LENGTH: tf.fill([size], tf.constant(windows.window, tf.int64)),
        b.SEEN_ENTITY: seen,
        b.TARGET_ENTITY: draw(size),
    }


def write_timelines(path: Path) -> None:
    """Writes transformed timelines, `EVENTS` in all."""
    import tensorflow as tf

    generator = np.random.default_rng(0)
    activity = 1.0 / (np.arange(USERS) + 0.02 * USERS)
    lengths = 1 + generator.multinomial(EVENTS - USERS, activity / activity.sum())
    weights = 1.0 / (np.arange(ITEMS) + 10.0)
    chosen = 1 + generator.choice(ITEMS, EVENTS, p=weights / weights.sum())
    ends = np.cumsum(lengths)
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for user in generator.permutation(USERS):
            columns = {
                f.EVENT_ENTITY: chosen[ends[user] - lengths[user] : ends[user]],
                f.EVENT_TYPE: np.ones(lengths[user], np.int64),
                f.CONTEXT_LENGTH: [0],
            }
            example = tf.train.Example()
            for name, values in columns.items():
                example.features.feature[name].int64_list.value.extend(values)
            writer.write(example.SerializeToString())


def _batches(path: Path, model: TwoTower) -> tf.data.Dataset:
    """Returns the Trainer's batches of the log, without an end."""
    import tensorflow as tf

    from models.input.target_batches import training_batches
    from models.input.target_rule import TargetRule

    if not path.exists():
        write_timelines(path)
    spec = {
        name: tf.io.RaggedFeature(tf.int64, value_key=name, row_splits_dtype=tf.int64)
        for name in (f.EVENT_ENTITY, f.EVENT_TYPE, f.CONTEXT_LENGTH)
    }
    rule = TargetRule(np.arange(ITEMS + 1) > 0)
    windows = model.window_spec(training=True)
    return training_batches([str(path)], spec, windows, rule, CONFIG.input, 0, seed=0).repeat()


def _step(model: TwoTower) -> Callable[[Batch], Any]:
    """Returns the training step of a model, traced once."""
    import tensorflow as tf

    return tf.function(model.train_step, reduce_retracing=True)


if __name__ == "__main__":
    main()
