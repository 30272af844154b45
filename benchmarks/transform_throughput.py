"""Throughput of validation and Transform on a synthetic log, in events a second.

    python -m benchmarks.transform_throughput

The log has 1,000,000 events of 6,000 users on 20,000 items (power-law
popularity and activity) as raw timelines and catalogue rows; the pipeline is
TFX's own on the local runner: import, statistics, schema, validation,
Transform of four splits. Times are those that ML Metadata has for each
component, start-up of its Beam job and graph tracing included. Last,
transformed timelines are read back as the trainer reads them.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import Results
from transforms import features as f
from transforms.config import TransformConfig
from transforms.stack import direct_in_python

COMMAND = "python -m benchmarks.transform_throughput"
STAGES = ("statistics", "transform", "transformed_read_back")
DAY = 86_400_000_000  # microseconds


def make_timelines(events: int, users: int, items: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yields the columns of one timeline a user, `events` in all.

    Args:
        events: Number of events of all users.
        users: Number of users.
        items: Number of items; item of rank r is drawn with weight 1 / (r + 10).
        seed: Seed of everything drawn.

    Yields:
        Values by feature name.
    """
    generator = np.random.default_rng(seed)
    activity = 1.0 / (np.arange(users) + 0.02 * users)
    lengths = 1 + generator.multinomial(events - users, activity / activity.sum())
    weights = 1.0 / (np.arange(items) + 10.0)
    chosen = generator.choice(items, events, p=weights / weights.sum())
    names = np.array([f"item:{i}" for i in range(items)])[chosen]
    types = np.array(["watch", "click", "cart", "buy"])[generator.integers(0, 4, events)]
    times = np.sort(generator.integers(0, 365 * DAY, events))
    ends = np.cumsum(lengths)
    for user, (start, end) in enumerate(zip(ends - lengths, ends, strict=True)):
        length = end - start
        yield {
            f.USER_ID: [f"user{user}"],
            f.USER_ATTRIBUTES: [f"age={user % 7}", f"region={user % 50}"],
            f.CHUNK: [0],
            f.CONTEXT_LENGTH: [0],
            f.REQUEST_TIME: [int(times[end - 1])],
            f.REQUEST_QUERY: [""],
            f.EVENT_ENTITY: names[start:end].tolist(),
            f.EVENT_TYPE: types[start:end].tolist(),
            f.EVENT_TIMESTAMP: times[start:end].tolist(),
            f.EVENT_QUERY: [""] * length,
            f.EVENT_VALUE: [0.0] * length,
        }


def make_catalogue(items: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yields the columns of one catalogue row an item."""
    generator = np.random.default_rng(seed)
    words = np.array([f"word{i}" for i in range(5_000)])[generator.integers(0, 5_000, (items, 6))]
    prices = np.exp(generator.normal(3.0, 1.0, items))
    for item in range(items):
        yield {
            f.CATALOGUE_ENTITY: [f"item:{item}"],
            f.CATALOGUE_TYPE: ["item"],
            f.CATALOGUE_TITLE: [" ".join(words[item])],
            f.CATALOGUE_CATEGORIES: [f"category {item % 200}"],
            f.CATALOGUE_ATTRIBUTES: [f"brand={item % 900}", f"colour={item % 12}"],
            f.CATALOGUE_PRICE: [float(prices[item])],
            f.CATALOGUE_AVAILABLE_FROM: [0],
        }


def write_log(folder: Path, events: int, users: int, items: int, seed: int) -> None:
    """Writes the four splits; the held-out ones have every tenth user and one target each."""
    import tensorflow as tf

    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)

    def writer(split: str) -> tf.io.TFRecordWriter:
        (folder / split).mkdir(parents=True)
        return tf.io.TFRecordWriter(str(folder / split / "data.gz"), options)

    with writer("train") as train, writer("validation") as validation, writer("test") as test:
        for user, columns in enumerate(make_timelines(events, users, items, seed)):
            train.write(_serialise(columns))
            if user % 10 == 0:
                target = {
                    f.TARGET_ENTITY: columns[f.EVENT_ENTITY][-1:],
                    f.TARGET_TYPE: columns[f.EVENT_TYPE][-1:],
                    f.TARGET_TIMESTAMP: columns[f.EVENT_TIMESTAMP][-1:],
                }
                validation.write(_serialise(columns | target))
                test.write(_serialise(columns | target))
    with writer("catalogue") as catalogue:
        for columns in make_catalogue(items, seed):
            catalogue.write(_serialise(columns))


def run_pipeline(log: Path, home: Path) -> dict[str, float]:
    """Runs import, statistics, validation and Transform; returns seconds by component."""
    from ml_metadata import metadata_store
    from tfx import v1 as tfx

    from tfx_pipeline.components.example_validator import CuratedSchemaGen
    from tfx_pipeline.components.example_validator import TimelineExampleValidator
    from tfx_pipeline.components.example_validator import TimelineStatisticsGen
    from tfx_pipeline.components.timeline_transform import TimelineTransform

    inputs = tfx.proto.Input(
        splits=[tfx.proto.Input.Split(name=name, pattern=f"{name}/*") for name in f.SPLITS]
    )
    examples = tfx.components.ImportExampleGen(input_base=str(log), input_config=inputs)
    schema = CuratedSchemaGen()
    statistics = TimelineStatisticsGen(
        examples=examples.outputs["examples"], schema=schema.outputs["schema"]
    )
    validator = TimelineExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    transform = TimelineTransform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn="transforms.preprocessing.preprocessing_fn",
        splits_config=tfx.proto.SplitsConfig(analyze=["train", "catalogue"], transform=f.SPLITS),
        custom_config={"config": TransformConfig().to_json()},
        disable_statistics=True,
        disable_analyzer_cache=True,
    )
    metadata = tfx.orchestration.metadata.sqlite_metadata_connection_config(str(home / "metadata"))
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            pipeline_name="transform-throughput",
            pipeline_root=str(home / "root"),
            components=[examples, statistics, schema, validator, transform],
            metadata_connection_config=metadata,
            beam_pipeline_args=list(direct_in_python(["--direct_running_mode=in_memory"])),
        )
    )
    store = metadata_store.MetadataStore(metadata)
    types = {one.id: one.name.rpartition(".")[2] for one in store.get_execution_types()}
    return {
        types[one.type_id]: (one.last_update_time_since_epoch - one.create_time_since_epoch) / 1e3
        for one in store.get_executions()
    }


def read_back(home: Path) -> float:
    """Reads the transformed training timelines once; returns the seconds it took."""
    import tensorflow as tf
    import tensorflow_transform as tft

    (graph,) = (home / "root" / "TimelineTransform" / "transform_graph").iterdir()
    (data,) = (home / "root" / "TimelineTransform" / "transformed_examples").iterdir()
    spec = tft.TFTransformOutput(str(graph)).transformed_feature_spec()
    read = {name: spec[name] for name in (f.EVENT_ENTITY, f.EVENT_TYPE, f.EVENT_TIMESTAMP)}
    files = [str(path) for path in (data / "Split-train").iterdir()]
    dataset = tf.data.TFRecordDataset(files, "GZIP").batch(128)
    started = time.perf_counter()
    for _ in dataset.map(lambda batch: tf.io.parse_example(batch, read)):
        pass
    return time.perf_counter() - started


def measure(events: int, users: int, items: int, seed: int) -> dict[str, dict[str, float]]:
    """Makes the log and runs everything once.

    Args:
        events: Number of events.
        users: Number of users.
        items: Number of items.
        seed: Seed of the log.

    Returns:
        For each stage its events a second, its seconds and the load of the
        machine (by whomever) when it began.
    """
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        write_log(home / "log", events, users, items, seed)
        load = os.getloadavg()[0]
        seconds = run_pipeline(home / "log", home)
        stages = {
            "statistics": seconds["TimelineStatisticsGen"],
            "transform": seconds["TimelineTransform"],
            "transformed_read_back": read_back(home),
        }
    return {
        name: {"value": events / taken, "stage_seconds": taken, "load": load}
        for name, taken in stages.items()
    }


def _stage(once: Callable[[], dict[str, dict[str, float]]], name: str) -> dict[str, float]:
    return once()[name]


def _serialise(columns: dict[str, Any]) -> bytes:
    import tensorflow as tf

    example = tf.train.Example()
    for name, values in columns.items():
        feature = example.features.feature[name]
        if isinstance(values[0], str):
            feature.bytes_list.value.extend(value.encode() for value in values)
        elif isinstance(values[0], float):
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    return example.SerializeToString()


def main() -> None:
    """Measures what is missing, keeps it and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=6_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    options = parser.parse_args()
    size = {"events": options.events, "users": options.users, "items": options.items}
    results = Results("transform_throughput", COMMAND, fresh=options.fresh)
    for seed in range(options.seeds):
        once = functools.cache(functools.partial(measure, **size, seed=seed))
        for name in STAGES:
            key = {"name": name, "unit": "events/s", "events": options.events}
            results.measure(key, seed, functools.partial(_stage, once, name), size)
    for row in results.rows():
        print(f"{row['name']:24}{row['events']:>12,}{row['value']:>12,.0f} {row['unit']}")


if __name__ == "__main__":
    main()
