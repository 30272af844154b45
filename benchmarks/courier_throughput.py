"""Images a second that encoders of images train on, and how much of the time the input takes.

    python -m benchmarks.courier_throughput

H&M's photos of 64 x 96 and its purchases, as in `benchmarks.courier_hm`. Rows, each with the load
average of the machine before the run:

- `decode`: photos a second that are read from the catalogue, decoded and resized. A training does
  so once for each image, however often it was shown.
- `frozen`: COURIER on a backbone that stays. Its features are computed once (`features`), so that
  a step learns a linear layer and the attention.
- `trained`: COURIER on a narrower backbone that learns, from pixels in every step.
- `views`: SimCLR, two random views of each image in every step.

An image counts once a batch. `input_share` is how long the input pipeline takes alone, as a
share of the training from it. Both run at the same time, so that training waits for what is above
1 alone.
"""

from __future__ import annotations

import argparse
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from benchmarks.courier_hm import BENCHMARK
from benchmarks.courier_hm import LABEL
from benchmarks.courier_table import SIMCLR
from benchmarks.environment import ROOT
from benchmarks.results import DIRECTORY
from benchmarks.results import Results
from benchmarks.results_table import render
from models.config import RepresentationTrainerConfig

if TYPE_CHECKING:
    from models.courier.model import Courier
    from models.training.data import TrainingData

NAME = "courier_throughput"
SOURCES = {"frozen": "courier", "trained": "courier", "views": SIMCLR}
COLUMNS = ("name", "images_per_second", "input_images_per_second", "input_share", "load", "runs")
WARM_UP, BATCHES = 3, 20


def main() -> None:
    """Measures what is missing and prints the table."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--log-dir", type=Path, default=ROOT / "data" / BENCHMARK.name)
    runs = ROOT / "runs" / "benchmarks" / BENCHMARK.name
    parser.add_argument("--run-dir", type=Path, default=runs, help="of timelines and Transform")
    parser.add_argument("--results-dir", type=Path, default=DIRECTORY)
    options = parser.parse_args()
    results = Results(NAME, f"python -m benchmarks.{NAME}", options.fresh, options.results_dir)
    if not options.log_dir.exists():
        BENCHMARK.prepare(options.log_dir, BENCHMARK.users)
    from tfx_pipeline.image_features.make import learn_from

    data = learn_from(BENCHMARK.pipeline(options.log_dir, options.run_dir))
    rows: dict[str, Callable[[], dict[str, float]]] = {
        "decode": functools.partial(decode, data),
        "features": functools.partial(features, data),
        **{name: functools.partial(training, name, data) for name in SOURCES},
    }
    for repetition in range(options.repetitions):
        for name, measure in rows.items():
            given = trainer(name if name in SOURCES else "frozen").model_dump(mode="json")
            results.measure({"name": name}, repetition, functools.partial(loaded, measure), given)
    print(render(results.path, COLUMNS, 3))


def loaded(measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Returns what was measured and the load average of the machine before it."""
    load = os.getloadavg()[0]
    return measure() | {"load": load}


def trainer(name: str) -> RepresentationTrainerConfig:
    """Returns how a row's encoder is trained."""
    given = BENCHMARK.section(SOURCES[name]).trainer.model_dump(mode="json") | {"label": LABEL}
    if name == "trained":
        given["model"]["backbone"] = dict(BENCHMARK.trained)
    return RepresentationTrainerConfig.model_validate(given)


def decode(data: TrainingData) -> dict[str, float]:
    """Measures images a second that are read."""
    from models.courier.images import load_images

    model = trainer("frozen").model
    given = (data.catalogue_files, data.spec, data.sizes.entity, model.height, model.width)
    start = time.perf_counter()
    number = len(load_images(*given, BENCHMARK.types))
    return {"images_per_second": number / (time.perf_counter() - start)}


def features(data: TrainingData) -> dict[str, float]:
    """Measures images a second that a frozen backbone reads."""
    model = make_model("frozen", data)
    start = time.perf_counter()
    model.encoder.features_of(model.images.pixels)
    return {"images_per_second": len(model.images) / (time.perf_counter() - start)}


def training(name: str, data: TrainingData) -> dict[str, float]:
    """Measures images a second of the input alone, and of training from it."""
    import tensorflow as tf

    model = make_model(name, data)
    step = tf.function(model.train_step, reduce_retracing=True)
    input_seconds, images = timed(model, data, lambda batch: None)
    seconds, _ = timed(model, data, step)
    return {
        "images_per_second": images / seconds,
        "input_images_per_second": images / input_seconds,
        "input_share": input_seconds / seconds,
    }


def make_model(name: str, data: TrainingData) -> Courier:
    """Makes a row's model, as the Trainer does."""
    from models.courier.model import Courier
    from models.training.optimizers import make_optimizer

    config = trainer(name)
    model = Courier.of(config, data)
    model.compile(optimizer=make_optimizer(config.optimizer, 100_000))
    return model


def timed(model: Courier, data: TrainingData, use: Callable[[Any], Any]) -> tuple[float, int]:
    """Returns the seconds of `BATCHES` batches, and how many distinct images they have."""
    from models.courier.page_views import IMAGE_ROW
    from models.training.replicas import InputPart

    batches = iter(model.training_batches(data, InputPart()).repeat())
    for _ in range(WARM_UP):
        use(next(batches))
    images, start = 0, time.perf_counter()
    for _ in range(BATCHES):
        batch = next(batches)
        images += len(batch[IMAGE_ROW])
        use(batch)
    return time.perf_counter() - start, images


if __name__ == "__main__":
    main()
