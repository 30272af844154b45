"""The Beam job: an event log in, the splits of an `Examples` artifact out."""

from __future__ import annotations

import json
import posixpath
import time
from collections.abc import Callable
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apache_beam as beam
from absl import logging
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from tfx_pipeline.components.timeline_example_gen import pages
from tfx_pipeline.components.timeline_example_gen import popularity
from tfx_pipeline.components.timeline_example_gen import report
from tfx_pipeline.components.timeline_example_gen import requirements
from tfx_pipeline.components.timeline_example_gen.buckets import COUNTS
from tfx_pipeline.components.timeline_example_gen.buckets import PAGE_IDS
from tfx_pipeline.components.timeline_example_gen.buckets import REPORT
from tfx_pipeline.components.timeline_example_gen.buckets import SEED
from tfx_pipeline.components.timeline_example_gen.buckets import SortBucket
from tfx_pipeline.components.timeline_example_gen.buckets import WriteBucket
from tfx_pipeline.components.timeline_example_gen.catalogue_split import WriteCatalogue
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.field_rows import SendFields
from tfx_pipeline.components.timeline_example_gen.messages import Store
from tfx_pipeline.components.timeline_example_gen.messages import temporary_storage
from tfx_pipeline.components.timeline_example_gen.negatives import MergeNames
from tfx_pipeline.components.timeline_example_gen.negatives import ReadNames
from tfx_pipeline.components.timeline_example_gen.partition import Partition
from tfx_pipeline.components.timeline_example_gen.plan import Plan
from tfx_pipeline.components.timeline_example_gen.plan import make_plan
from tfx_pipeline.datasets import dead_letter
from tfx_pipeline.datasets.catalogue_index import MergeKeys
from tfx_pipeline.datasets.catalogue_index import ReadKeys
from tfx_pipeline.datasets.dead_letter import Origin
from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import USERS_TABLE
from tfx_pipeline.datasets.file_parts import FilePart
from tfx_pipeline.datasets.schemas import features_table
from tfx_pipeline.examples import tfrecord

_FILE_PART = tuple[str, str, int, int, int, int, int, str]
_MESSAGE = tuple[int, tuple[int, str, bytes]]


def generate(
    log_dir: str,
    uri: str,
    config: TimelineConfig,
    make_pipeline: Callable[[], beam.Pipeline],
    made: Path | None = None,
) -> dict[str, Any]:
    """Turns an event log into the splits of an `Examples` artifact.

    Args:
        log_dir: Directory of an event log.
        uri: Where the artifact goes; `Split-<name>`, `dead_letter` and
            `generation_report.json` appear below it.
        config: How timelines are cut.
        make_pipeline: Makes an empty pipeline on the runner of choice.
        made: Directory of tables of declared fields that are not in the log, `features/<name>`.

    Returns:
        The report.

    Raises:
        FileNotFoundError: No event log is there.
        ValueError: The log does not fit (see `plan.make_plan`), too many rows
            are bad, or a split would be empty.
    """
    started = time.monotonic()
    plan = make_plan(log_dir, config, made)
    for split in config.splits:
        _make_directory(posixpath.join(uri, f"Split-{split}"))
    for name in (dead_letter.DIRECTORY, tfrecord.STAGING):
        _make_directory(posixpath.join(uri, name))
    logging.info("Reading %s rows into %d buckets", f"{plan.rows[EVENTS_TABLE]:,}", plan.buckets)
    pipeline = make_pipeline()
    with temporary_storage(pipeline) as directory:
        build(pipeline, plan, uri, config, Store(directory))
        pipeline.run().wait_until_finish()
    counts = finish(uri, plan, config)
    most = config.max_dead_letter_fraction
    dead_letter.check_threshold(counts, most, posixpath.join(uri, dead_letter.DIRECTORY))
    requirements.check(log_dir, counts, config)
    for table, by_reason in counts.get("repaired", {}).items():
        for why, count in by_reason.items():
            logging.warning("%s of `%s`: %s values were taken for null", why, table, f"{count:,}")
    seconds = time.monotonic() - started
    logging.info("%s events in %.1f s", f"{plan.rows[EVENTS_TABLE]:,}", seconds)
    return counts


def build(
    pipeline: beam.Pipeline, plan: Plan, uri: str, config: TimelineConfig, store: Store
) -> None:
    """Adds the job's transforms to a pipeline; its counts end up in `generation_report.json`.

    Args:
        pipeline: An empty pipeline.
        plan: What to read.
        uri: Where the artifact goes.
        config: How timelines are cut.
        store: Temporary storage of rows between steps.
    """
    catalogue, index = catalogue_index(pipeline, plan)
    ordered = sorted_buckets(pipeline, plan, uri, config, store, index)
    classes = beam.pvalue.AsSingleton(
        ordered[COUNTS] | "Popularity" >> beam.CombineGlobally(popularity.Popularity())
    )
    reports = [ordered[REPORT]]
    write = WriteBucket(*bucket_settings(plan, uri, config))
    reports += _timeline_splits(ordered["sorted"], write, catalogue, config, [index, classes])
    rows, more = catalogue_rows(pipeline, plan, uri, config, store, index)
    step = beam.ParDo(WriteCatalogue(*catalogue_settings(plan, uri, config)), index)
    written = rows | "WriteCatalogue" >> step.with_output_types(bytes)
    write_counts([*reports, *more, written], uri)


def write_counts(reports: Iterable[beam.PCollection], uri: str) -> None:
    """Adds up counts, and writes them as `generation_report.json`."""
    (
        tuple(reports)
        | "Reports" >> beam.Flatten()
        | "AddCounts" >> beam.CombineGlobally(report.AddCounts())
        | "WriteCounts" >> beam.Map(_write_counts, uri=uri)
    )


def catalogue_index(
    pipeline: beam.Pipeline, plan: Plan
) -> tuple[beam.PCollection, beam.pvalue.AsSingleton]:
    """Returns the parts of the catalogue, and what `CatalogueIndex` takes as a side input."""
    catalogue = _file_parts(pipeline, "Catalogue", plan.file_parts[CATALOGUE_TABLE])
    index = beam.pvalue.AsSingleton(
        catalogue
        | "ReadKeys" >> beam.ParDo(ReadKeys()).with_output_types(bytes)
        | "MergeKeys" >> beam.CombineGlobally(MergeKeys())
    )
    return catalogue, index


def sorted_buckets(
    pipeline: beam.Pipeline,
    plan: Plan,
    uri: str,
    config: TimelineConfig,
    store: Store,
    index: beam.pvalue.AsSingleton,
) -> beam.pvalue.DoOutputsTuple:
    """Returns every bucket of users in order, `sorted`, and what `SortBucket` counts."""
    file_parts = plan.file_parts[EVENTS_TABLE] + plan.file_parts[USERS_TABLE]
    partition = beam.ParDo(Partition(plan.limits.to_json(), plan.buckets, store)).with_output_types(
        _MESSAGE
    )
    rows = _file_parts(pipeline, "Rows", file_parts) | "Partition" >> partition
    seeds = pipeline | "Seeds" >> beam.Create(_seeds(plan.buckets)).with_output_types(_MESSAGE)
    origins = {table: Origin(plan.file_parts[table]) for table in (EVENTS_TABLE, USERS_TABLE)}
    sort = SortBucket(*bucket_settings(plan, uri, config), store=store, origins=origins)
    return (
        (rows, seeds)
        | "Join" >> beam.Flatten()
        | "ByBucket" >> beam.GroupByKey()
        | "Sort" >> beam.ParDo(sort, index).with_outputs(COUNTS, REPORT, main="sorted")
    )


def bucket_settings(plan: Plan, uri: str, config: TimelineConfig) -> tuple[Any, ...]:
    """Returns the arguments of a `BucketFn`."""
    return config.to_json(), (plan.validation_start, plan.test_start), plan.buckets, uri


def _timeline_splits(
    ordered: beam.PCollection,
    write: WriteBucket,
    catalogue: beam.PCollection,
    config: TimelineConfig,
    sides: list[beam.pvalue.AsSingleton],
) -> list[beam.PCollection]:
    """Adds what writes timelines and page examples; returns counts."""
    source = config.label.source if config.label else None
    if source == "events":
        names = beam.ParDo(ReadNames(config.candidate_types)).with_output_types(bytes)
        merge = beam.CombineGlobally(MergeNames())
        items = catalogue | "ReadNames" >> names | "MergeNames" >> merge
        sides = [*sides, beam.pvalue.AsSingleton(items)]
    step = beam.ParDo(write, *sides)
    if source != "impressions":
        return [ordered | "Write" >> step.with_output_types(bytes)]
    written = ordered | "Write" >> step.with_outputs(PAGE_IDS, main="counts")
    count = beam.Map(pages.count_shared_ids).with_output_types(bytes)
    ids = written[PAGE_IDS] | "ByPageId" >> beam.GroupByKey() | "CountPageIds" >> count
    return [written["counts"], ids]


def catalogue_rows(
    pipeline: beam.Pipeline,
    plan: Plan,
    uri: str,
    config: TimelineConfig,
    store: Store,
    index: beam.pvalue.AsSingleton,
) -> tuple[beam.PCollection, list[beam.PCollection]]:
    """Returns what a `CatalogueFn` takes: parts of the catalogue, their fields; and counts."""
    tables = _declared(config)
    seeds = beam.Create(_seeds(len(plan.file_parts[CATALOGUE_TABLE]))).with_output_types(_MESSAGE)
    parts, reports = [pipeline | "CatalogueSeeds" >> seeds], []
    if tables:
        starts = [file_part.first_row for file_part in plan.file_parts[CATALOGUE_TABLE]]
        limits = plan.limits.to_json()
        send = SendFields(limits, config.unknown_entities, starts, store, uri)
        rows = _file_parts(
            pipeline, "FieldRows", [p for table in tables for p in plan.file_parts[table]]
        )
        sent = rows | "SendFields" >> beam.ParDo(send, index).with_outputs(REPORT, main="rows")
        parts.append(sent["rows"])
        reports.append(sent[REPORT])
    joined = tuple(parts) | "JoinCatalogue" >> beam.Flatten()
    return joined | "ByCataloguePart" >> beam.GroupByKey(), reports


def catalogue_settings(plan: Plan, uri: str, config: TimelineConfig) -> tuple[Any, ...]:
    """Returns the arguments of a `CatalogueFn`."""
    origins = {table: Origin(plan.file_parts[table]) for table in _declared(config)}
    file_parts, limits = plan.file_parts[CATALOGUE_TABLE], plan.limits.to_json()
    return config.to_json(), limits, file_parts, uri, origins


def _declared(config: TimelineConfig) -> list[str]:
    """Returns the tables of declared fields."""
    return [features_table(name) for name in sorted(config.catalogue_fields.names)]


def _file_parts(
    pipeline: beam.Pipeline, name: str, file_parts: Iterable[FilePart]
) -> beam.PCollection:
    """Returns parts, spread over the workers."""
    return (
        pipeline
        | name
        >> beam.Create([tuple(file_part) for file_part in file_parts]).with_output_types(_FILE_PART)
        | f"Spread{name}" >> beam.Reshuffle()
    )


def _seeds(buckets: int) -> list[_MESSAGE]:
    """Returns one message a bucket, so that every shard is written, if empty."""
    return [(bucket, (0, SEED, b"")) for bucket in range(buckets)]


def _write_counts(counts: bytes, uri: str) -> None:
    tfrecord.write_file(uri, report.NAME, counts)


def finish(uri: str, plan: Plan, config: TimelineConfig) -> dict[str, Any]:
    """Writes the report in its final form, removes the staging directory, returns the report."""
    path = posixpath.join(uri, report.NAME)
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        counts = report.nest(json.loads(file.read()))
    counts["rows"] = plan.rows
    counts["buckets"] = plan.buckets
    counts["span"] = plan.span
    counts["config"] = json.loads(config.to_json())
    if config.split == "time-cut":
        counts["validation_start"] = plan.validation_start
        counts["test_start"] = plan.test_start
    tfrecord.write_file(uri, report.NAME, (json.dumps(counts, indent=2) + "\n").encode())
    FileSystems.delete([posixpath.join(uri, tfrecord.STAGING)])
    return counts


def _make_directory(path: str) -> None:
    if not FileSystems.exists(path):
        FileSystems.mkdirs(path)
