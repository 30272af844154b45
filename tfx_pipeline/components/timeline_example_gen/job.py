"""The Beam job: an event log in, the splits of an `Examples` artifact out."""

from __future__ import annotations

import contextlib
import json
import posixpath
import tempfile
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from absl import logging
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.runners.direct.direct_runner import DirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from tfx_pipeline.components.timeline_example_gen import dead_letter
from tfx_pipeline.components.timeline_example_gen import page_ids
from tfx_pipeline.components.timeline_example_gen import popularity
from tfx_pipeline.components.timeline_example_gen import report
from tfx_pipeline.components.timeline_example_gen import tfrecord
from tfx_pipeline.components.timeline_example_gen.catalogue_index import MergeKeys
from tfx_pipeline.components.timeline_example_gen.catalogue_index import ReadKeys
from tfx_pipeline.components.timeline_example_gen.catalogue_split import WriteCatalogue
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.dead_letter import Origin
from tfx_pipeline.components.timeline_example_gen.field_rows import SendFields
from tfx_pipeline.components.timeline_example_gen.negatives import MergeNames
from tfx_pipeline.components.timeline_example_gen.negatives import ReadNames
from tfx_pipeline.components.timeline_example_gen.partition import Partition
from tfx_pipeline.components.timeline_example_gen.piece import Piece
from tfx_pipeline.components.timeline_example_gen.plan import Plan
from tfx_pipeline.components.timeline_example_gen.plan import make_plan
from tfx_pipeline.components.timeline_example_gen.sort_bucket import COUNTS
from tfx_pipeline.components.timeline_example_gen.sort_bucket import REPORT
from tfx_pipeline.components.timeline_example_gen.sort_bucket import SEED
from tfx_pipeline.components.timeline_example_gen.sort_bucket import SortBucket
from tfx_pipeline.components.timeline_example_gen.store import Store
from tfx_pipeline.components.timeline_example_gen.write_bucket import PAGE_IDS
from tfx_pipeline.components.timeline_example_gen.write_bucket import WriteBucket
from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import USERS_TABLE
from tfx_pipeline.datasets.matching import mismatch
from tfx_pipeline.datasets.rules import reason
from tfx_pipeline.datasets.schemas import features_table
from tfx_pipeline.datasets.validate_features import no_match
from transforms.features import PAGE_SPLITS

_PIECE = tuple[str, str, int, int, int, int, int, str]
_MESSAGE = tuple[int, tuple[int, str, bytes]]


def generate(
    log_dir: str, uri: str, config: TimelineConfig, make_pipeline: Callable[[], beam.Pipeline]
) -> dict[str, Any]:
    """Turns an event log into the splits of an `Examples` artifact.

    Args:
        log_dir: Directory of an event log.
        uri: Where the artifact goes; `Split-<name>`, `dead_letter` and
            `generation_report.json` appear below it.
        config: How timelines are cut.
        make_pipeline: Makes an empty pipeline on the runner of choice.

    Returns:
        The report.

    Raises:
        FileNotFoundError: No event log is there.
        ValueError: The log does not fit (see `plan.make_plan`), too many rows
            are bad, or a split would be empty.
    """
    started = time.monotonic()
    plan = make_plan(log_dir, config)
    for split in config.splits:
        _make_directory(posixpath.join(uri, f"Split-{split}"))
    for name in (dead_letter.DIRECTORY, tfrecord.STAGING):
        _make_directory(posixpath.join(uri, name))
    logging.info("Reading %s rows into %d buckets", f"{plan.rows[EVENTS_TABLE]:,}", plan.buckets)
    pipeline = make_pipeline()
    with _waiting_room(pipeline) as directory:
        build(pipeline, plan, uri, config, Store(directory))
        pipeline.run().wait_until_finish()
    counts = _finish(uri, plan, config)
    dead_letter.check_threshold(counts, config, posixpath.join(uri, dead_letter.DIRECTORY))
    _require_match(log_dir, counts, config)
    _require_fields(counts, config)
    _require_splits(counts, config)
    _require_labels(counts, config)
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
        store: Where rows wait between stages.
    """
    as_json = config.to_json()
    catalogue = _pieces(pipeline, "Catalogue", plan.pieces[CATALOGUE_TABLE])
    index = beam.pvalue.AsSingleton(
        catalogue
        | "ReadKeys" >> beam.ParDo(ReadKeys()).with_output_types(bytes)
        | "MergeKeys" >> beam.CombineGlobally(MergeKeys())
    )
    pieces = plan.pieces[EVENTS_TABLE] + plan.pieces[USERS_TABLE]
    partition = beam.ParDo(Partition(plan.limits.to_json(), plan.buckets, store)).with_output_types(
        _MESSAGE
    )
    rows = _pieces(pipeline, "Rows", pieces) | "Partition" >> partition
    seeds = pipeline | "Seeds" >> beam.Create(_seeds(plan.buckets)).with_output_types(_MESSAGE)
    stage = (as_json, (plan.validation_start, plan.test_start), plan.buckets, uri)
    origins = {table: Origin(plan.pieces[table]) for table in (EVENTS_TABLE, USERS_TABLE)}
    ordered = (
        (rows, seeds)
        | "Join" >> beam.Flatten()
        | "ByBucket" >> beam.GroupByKey()
        | "Sort"
        >> beam.ParDo(SortBucket(*stage, store=store, origins=origins), index).with_outputs(
            COUNTS, REPORT, main="sorted"
        )
    )
    classes = beam.pvalue.AsSingleton(
        ordered[COUNTS] | "Popularity" >> beam.CombineGlobally(popularity.Popularity())
    )
    sides, reports = [index, classes], [ordered[REPORT]]
    if config.label and config.label.source == "events":
        sides.append(
            beam.pvalue.AsSingleton(
                catalogue
                | "ReadNames"
                >> beam.ParDo(ReadNames(config.candidate_types)).with_output_types(bytes)
                | "MergeNames" >> beam.CombineGlobally(MergeNames())
            )
        )
    write = beam.ParDo(WriteBucket(*stage), *sides)
    if config.label and config.label.source == "impressions":
        written = ordered["sorted"] | "Write" >> write.with_outputs(PAGE_IDS, main="counts")
        count = beam.Map(page_ids.count_shared).with_output_types(bytes)
        ids = written[PAGE_IDS] | "ByPageId" >> beam.GroupByKey() | "CountPageIds" >> count
        reports += [written["counts"], ids]
    else:
        reports.append(ordered["sorted"] | "Write" >> write.with_output_types(bytes))
    reports += _catalogue_split(pipeline, plan, uri, config, store, index)
    (
        tuple(reports)
        | "Reports" >> beam.Flatten()
        | "AddCounts" >> beam.CombineGlobally(report.AddCounts())
        | "WriteCounts" >> beam.Map(_write_counts, uri=uri)
    )


def _catalogue_split(
    pipeline: beam.Pipeline,
    plan: Plan,
    uri: str,
    config: TimelineConfig,
    store: Store,
    index: beam.pvalue.AsSingleton,
) -> list[beam.PCollection]:
    """Adds what writes the catalogue, declared fields joined to its rows; returns counts."""
    pieces, limits = plan.pieces[CATALOGUE_TABLE], plan.limits.to_json()
    tables = [features_table(name) for name in sorted(config.catalogue_fields.names)]
    seeds = beam.Create(_seeds(len(pieces))).with_output_types(_MESSAGE)
    parts, reports = [pipeline | "CatalogueSeeds" >> seeds], []
    if tables:
        starts = [piece.first_row for piece in pieces]
        send = SendFields(limits, config.unknown_entities, starts, store, uri)
        rows = _pieces(pipeline, "FieldRows", [p for table in tables for p in plan.pieces[table]])
        sent = rows | "SendFields" >> beam.ParDo(send, index).with_outputs(REPORT, main="rows")
        parts.append(sent["rows"])
        reports.append(sent[REPORT])
    origins = {table: Origin(plan.pieces[table]) for table in tables}
    write = WriteCatalogue(config.to_json(), limits, pieces, uri, origins)
    written = (
        tuple(parts)
        | "JoinCatalogue" >> beam.Flatten()
        | "ByCataloguePiece" >> beam.GroupByKey()
        | "WriteCatalogue" >> beam.ParDo(write, index).with_output_types(bytes)
    )
    return [written, *reports]


@contextlib.contextmanager
def _waiting_room(pipeline: beam.Pipeline) -> Iterator[str]:
    """Makes a directory for the time of a run on this machine; "" when a cluster runs it.

    It is in the system's directory for temporary files (`TMPDIR` names another).
    """
    if not isinstance(pipeline.runner, (DirectRunner, FnApiRunner)):
        yield ""
        return
    with tempfile.TemporaryDirectory(prefix="timelines-") as directory:
        yield directory


def _pieces(pipeline: beam.Pipeline, name: str, pieces: Iterable[Piece]) -> beam.PCollection:
    """Returns pieces, spread over the workers."""
    return (
        pipeline
        | name >> beam.Create([tuple(piece) for piece in pieces]).with_output_types(_PIECE)
        | f"Spread{name}" >> beam.Reshuffle()
    )


def _seeds(buckets: int) -> list[_MESSAGE]:
    """Returns one message a bucket, so that every shard is written, if empty."""
    return [(bucket, (0, SEED, b"")) for bucket in range(buckets)]


def _write_counts(counts: bytes, uri: str) -> None:
    tfrecord.write_file(uri, report.NAME, counts)


def _finish(uri: str, plan: Plan, config: TimelineConfig) -> dict[str, Any]:
    """Writes the report in its final form and removes the staging directory."""
    place = posixpath.join(uri, report.NAME)
    with FileSystems.open(place, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        counts = report.nest(json.loads(file.read()))
    counts["rows"] = plan.rows
    counts["buckets"] = plan.buckets
    counts["config"] = json.loads(config.to_json())
    if config.split == "time-cut":
        counts["validation_start"] = plan.validation_start
        counts["test_start"] = plan.test_start
    tfrecord.write_file(uri, report.NAME, (json.dumps(counts, indent=2) + "\n").encode())
    FileSystems.delete([posixpath.join(uri, tfrecord.STAGING)])
    return counts


def _require_match(log_dir: str, counts: dict[str, Any], config: TimelineConfig) -> None:
    """Fails when the events and the catalogue name entities differently."""
    of_events = counts.get("events", {})
    removed = counts.get("dead_letters", {}).get(EVENTS_TABLE, {})
    told = mismatch(
        Path(log_dir),
        of_events.get("may_be_targets_in_catalogue", 0),
        of_events.get("may_be_targets", 0) + removed.get(reason("unknown-entity", "", ""), 0),
        config.min_catalogue_match,
        config.candidate_types,
    )
    if told:
        raise ValueError(told)


def _require_fields(counts: dict[str, Any], config: TimelineConfig) -> None:
    """Fails when no row of a declared field is about an entity of the catalogue."""
    for name in config.catalogue_fields.names:
        found = counts.get("fields", {}).get(name, {})
        if found.get("rows") and not found.get("in_catalogue"):
            raise ValueError(no_match(features_table(name), found["rows"]))


def _require_splits(counts: dict[str, Any], config: TimelineConfig) -> None:
    empty = [split for split in config.splits if not counts.get(split, {}).get("examples")]
    if not empty or config.allow_empty_splits:
        return
    hint = (
        f"Users need at least min_target_events = {config.min_target_events} events of the types "
        f"{list(config.target_events)} on entities of the types {list(config.candidate_types)}."
        if config.split == "leave-last-out"
        else "Users need events before a cut and targets after it; see the periods or shares of "
        "the split, `target_events` and `candidate_types`."
    )
    if config.label and set(empty) <= set(PAGE_SPLITS):
        held = {
            "impressions": "result pages",
            "values": f"events of the types {list(config.label.events)} with a value other than 0",
            "events": f"events of the types {list(config.label.events)}",
        }
        hint = f"Behind each cut there have to be {held[config.label.source]}."
    raise ValueError(
        f"No example in {', '.join(empty)} out of {counts['rows'][EVENTS_TABLE]:,} events of "
        f"{counts.get('users', {}).get('all', 0):,} users. {hint}"
    )


def _require_labels(counts: dict[str, Any], config: TimelineConfig) -> None:
    """Fails when a head of a ranking model would have nothing positive to learn from."""
    if not config.label or config.label.source != "impressions" or config.allow_empty_splits:
        return
    found = counts.get("train", {}).get("labels", {})
    absent = [head for head in config.label.heads if not found.get(head)]
    if absent:
        raise ValueError(
            f"`label.events` asks for {absent}, but no impression of a training page is followed "
            "by such an event on its page. Events need the `page_id` and the entity of the "
            "impression, and a later time or ordinal; or name other types."
        )


def _make_directory(path: str) -> None:
    if not FileSystems.exists(path):
        FileSystems.mkdirs(path)
