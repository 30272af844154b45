"""The Beam job: training timelines in, neighbour lists out.

    files -> counts of entities -> one dictionary, handed to every worker
    files -> pairs of a file, added up -> by range of rows -> lists, one file a range

A file is the unit of work: what is cut off (partners of an entity that has very many) is
cut off within one file, so that the result depends on the files alone, and neither on
workers nor on bundles. Arrow tables pass between the steps, one a file and range.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
from absl import logging
from apache_beam.io.filesystems import FileSystems

from serving.index.embedding.records import read_batches
from serving.sources.config import CountingConfig
from serving.sources.neighbours import make_table
from serving.sources.neighbours import write_tables
from tfx_pipeline.components.neighbour_builder import pairs
from tfx_pipeline.components.neighbour_builder.entities import Entities
from tfx_pipeline.components.neighbour_builder.entities import MergeEntities
from tfx_pipeline.components.neighbour_builder.entities import Part
from tfx_pipeline.components.neighbour_builder.entities import add_counts
from tfx_pipeline.components.neighbour_builder.entities import count_entities
from tfx_pipeline.components.neighbour_builder.timelines import read_users
from tfx_pipeline.components.timeline_example_gen.messages import Store
from tfx_pipeline.components.timeline_example_gen.messages import pack
from tfx_pipeline.components.timeline_example_gen.messages import temporary_storage
from tfx_pipeline.components.timeline_example_gen.messages import unpack
from tfx_pipeline.examples import tfrecord
from transforms import features
from transforms.arrow import pa

EVENTS_A_RANGE = 131_072
_WORK = ".ranges"
_KNOWN = "known.txt"
_BATCH = 512  # catalogue rows

Message = tuple[int, bytes]


def build(
    train: Sequence[str],
    catalogue: Sequence[str],
    target: Path,
    config: CountingConfig,
    make_pipeline: Callable[[], beam.Pipeline],
    events_a_range: int = EVENTS_A_RANGE,
) -> dict[str, Any]:
    """Counts neighbours and writes their directory.

    Args:
        train: Files of raw training timelines.
        catalogue: Files of catalogue rows.
        target: Where the directory goes, on a file system that every worker writes to.
        config: What is counted.
        make_pipeline: Makes an empty pipeline on the runner of choice.
        events_a_range: Counted events of the rows that are grouped and written together.

    Returns:
        The content of `neighbours.json`.

    Raises:
        ValueError: There is no event to count.
    """
    work = posixpath.join(str(target), _WORK)
    for directory in (work, posixpath.join(work, tfrecord.STAGING)):
        FileSystems.mkdirs(directory)
    try:
        pipeline = make_pipeline()
        with temporary_storage(pipeline) as directory:
            settings = (config.to_json(), events_a_range)
            _add_steps(pipeline, train, catalogue, work, settings, Store(directory))
            pipeline.run().wait_until_finish()
        info = _collect(Path(work), target, config)
    finally:
        FileSystems.delete([work])
    return info


def _add_steps(
    pipeline: beam.Pipeline,
    train: Sequence[str],
    catalogue: Sequence[str],
    work: str,
    settings: tuple[str, int],
    store: Store,
) -> None:
    files = _spread(pipeline, "Train", train)
    counts = files | "CountEntities" >> beam.ParDo(CountEntities(*settings)).with_output_types(Part)
    entities = counts | "MergeEntities" >> beam.CombineGlobally(MergeEntities())
    dictionary = beam.pvalue.AsSingleton(entities)
    count = beam.ParDo(CountPairs(*settings, store), dictionary).with_output_types(Message)
    found = files | "CountPairs" >> count
    seeds = entities | "Seeds" >> beam.FlatMap(seeds_of, settings[1]).with_output_types(Message)
    _ = (
        (found, seeds)
        | "Join" >> beam.Flatten()
        | "ByRange" >> beam.GroupByKey()
        | "WriteLists" >> beam.ParDo(WriteLists(*settings, work), dictionary)
    )
    _ = (
        _spread(pipeline, "Catalogue", catalogue)
        | "CountKnown" >> beam.ParDo(CountKnown(), dictionary).with_output_types(int)
        | "SumKnown" >> beam.CombineGlobally(sum)
        | "WriteKnown"
        >> beam.Map(lambda known: tfrecord.write_file(work, _KNOWN, str(known).encode()))
    )


class _Step(beam.DoFn):
    """Base of the steps.

    Args:
        config_json: A `CountingConfig`.
        events_a_range: As of `build`.
    """

    def __init__(self, config_json: str, events_a_range: int) -> None:
        self._config_json = config_json
        self._events_a_range = events_a_range

    def setup(self) -> None:
        """Parses the configuration once a worker."""
        self._config = CountingConfig.model_validate_json(self._config_json)


class CountEntities(_Step):
    """Counts the events of each entity: file name -> counts, newest time."""

    def process(self, file: str) -> Iterator[Part]:
        """Yields the counts of one file."""
        tables, newest = [], 0
        for events in read_users(file, self._config):
            tables.append(count_entities(events.entity))
            newest = max(newest, int(events.time.max(initial=0)))
        yield pack(add_counts(tables)), newest


class CountPairs(_Step):
    """Adds up the pairs of a file: file name -> pairs by range of rows.

    Args:
        store: Keeps the pairs until they are grouped.
    """

    def __init__(self, config_json: str, events_a_range: int, store: Store) -> None:
        super().__init__(config_json, events_a_range)
        self._store = store

    def process(self, file: str, dictionary: bytes) -> Iterator[Message]:
        """Yields the pairs of one file."""
        config, entities = self._config, Entities.of(dictionary)
        counter = pairs.PairCounter(config, entities.newest)
        for events in read_users(file, config):
            rows = entities.rows(events.entity)
            counter.add(pairs.Events(events.user, rows, events.time))
        found = counter.total()
        wanted = entities.of_types(config.candidate_types)[found.target]
        found = pairs.Pairs(found.key[wanted], found.weight[wanted])
        found = pairs.keep_partners(found, entities.events, config.damping, config.partners)
        edges = np.searchsorted(found.source, entities.ranges(self._events_a_range))
        parts = [slice(*edge) for edge in zip(edges[:-1], edges[1:], strict=True)]
        some = [number for number, part in enumerate(parts) if part.stop > part.start]
        packed = [_pack(found.key[parts[number]], found.weight[parts[number]]) for number in some]
        yield from zip(some, self._store.put(packed), strict=True)


class WriteLists(_Step):
    """Writes the lists of a range of rows as an Arrow IPC stream.

    Args:
        work: The directory.
    """

    def __init__(self, config_json: str, events_a_range: int, work: str) -> None:
        super().__init__(config_json, events_a_range)
        self._work = work

    def process(self, element: tuple[int, Iterable[bytes]], dictionary: bytes) -> Iterator[str]:
        """Yields the name of the file."""
        number, received = element
        entities = Entities.of(dictionary)
        rows = slice(*entities.ranges(self._events_a_range)[number : number + 2])
        tables = [unpack(Store.get(address)) for address in received if address]
        found = pairs.add_up(*(_column(tables, name) for name in ("key", "weight")))
        name = f"lists-{number:05d}.arrow"
        tfrecord.write_file(self._work, name, pack(make_lists(found, entities, rows, self._config)))
        yield name


class CountKnown(beam.DoFn):
    """Counts the entities of the dictionary among catalogue rows: file name -> count."""

    def process(self, file: str, dictionary: bytes) -> Iterator[int]:
        """Yields the count of one file; the generator lets each entity in once."""
        import tensorflow as tf

        entities = Entities.of(dictionary)
        spec = {features.CATALOGUE_ENTITY: tf.io.FixedLenFeature([], tf.string, "")}
        for records in read_batches([file], _BATCH):
            parsed = tf.io.parse_example(tf.constant(records, tf.string), spec)
            names = pa.array(parsed[features.CATALOGUE_ENTITY].numpy(), pa.binary())
            yield int((entities.rows(names) >= 0).sum())


def make_lists(
    found: pairs.Pairs, entities: Entities, rows: slice, config: CountingConfig
) -> pa.Table:
    """Makes the rows of the file for a range of entities.

    Args:
        found: All pairs that begin in the range.
        entities: The dictionary.
        rows: The range.
        config: Damping, and how many neighbours are kept.
    """
    weight = pairs.damped(found, entities.events, config.damping)
    best = pairs.best_of_each(found.source, weight, config.neighbours)
    rounded = weight[best].astype(np.float16)
    if not np.isfinite(rounded).all():
        raise ValueError(
            f"A weight of {weight.max():.3g} is more than float16 holds; lower `cooccurrence`."
        )
    best, rounded = best[rounded > 0], rounded[rounded > 0]
    lengths = np.bincount(found.source[best] - rows.start, minlength=rows.stop - rows.start)
    return make_table(
        entities.names[rows],
        np.concatenate([[0], np.cumsum(lengths)]),
        found.target[best],
        rounded,
        entities.events[rows],
    )


def seeds_of(dictionary: bytes, events_a_range: int) -> list[Message]:
    """Returns one message a range, so that each is written, if without pairs."""
    edges = Entities.of(dictionary).ranges(events_a_range)
    return [(number, b"") for number in range(len(edges) - 1)]


def _pack(key: np.ndarray, weight: np.ndarray) -> bytes:
    return pack(pa.table({"key": key, "weight": weight}))


def _column(tables: Sequence[pa.Table], name: str) -> np.ndarray:
    return np.concatenate([np.empty(0, np.int64), *(table[name].to_numpy() for table in tables)])


def _spread(pipeline: beam.Pipeline, name: str, files: Sequence[str]) -> beam.PCollection:
    made = pipeline | name >> beam.Create(list(files)).with_output_types(str)
    return made | f"Spread{name}" >> beam.Reshuffle()


def _collect(work: Path, target: Path, config: CountingConfig) -> dict[str, Any]:
    """Joins the ranges in order, one in memory at a time.

    Raises:
        ValueError: There is no event to count.
    """
    parts = sorted(work.glob("lists-*.arrow"))
    if not any(unpack(part.read_bytes()).num_rows for part in parts):
        raise ValueError(
            "There is no training event to count: expected timelines with events of the types "
            f"{list(config.event_types)} in the split `train`. See `sources.neighbours."
            "event_types`, and the example generator's report."
        )
    tables = (unpack(part.read_bytes()) for part in parts)
    known = {"in_catalogue": int((work / _KNOWN).read_text())}
    info = write_tables(target, tables, config.model_dump(mode="json"), known)
    counts = info["counts"]
    logging.info("Counted neighbours: %s.", counts)
    if unknown := counts["entities"] - counts["in_catalogue"]:
        logging.warning(
            "%d of %d entities with training events are not in the catalogue; they are counted, "
            "and no servable recommends them.",
            unknown,
            counts["entities"],
        )
    return info
