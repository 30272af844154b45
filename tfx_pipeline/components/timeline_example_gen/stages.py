"""The stages behind the shuffle: a bucket is sorted, then written."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.components.timeline_example_gen import assemble
from tfx_pipeline.components.timeline_example_gen import dead_letter
from tfx_pipeline.components.timeline_example_gen import messages
from tfx_pipeline.components.timeline_example_gen import pages as page_rows
from tfx_pipeline.components.timeline_example_gen import popularity
from tfx_pipeline.components.timeline_example_gen import report
from tfx_pipeline.components.timeline_example_gen import splits
from tfx_pipeline.components.timeline_example_gen import tfrecord
from tfx_pipeline.components.timeline_example_gen import timeline
from tfx_pipeline.components.timeline_example_gen.assemble import Bucket
from tfx_pipeline.components.timeline_example_gen.assemble import Examples
from tfx_pipeline.components.timeline_example_gen.catalogue_index import CatalogueIndex
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.dead_letter import Origin
from tfx_pipeline.components.timeline_example_gen.encode import Feature
from tfx_pipeline.components.timeline_example_gen.encode import encode_examples
from tfx_pipeline.components.timeline_example_gen.hashing import hash_ids
from tfx_pipeline.components.timeline_example_gen.report import Counts
from tfx_pipeline.components.timeline_example_gen.store import Store
from tfx_pipeline.components.timeline_example_gen.timeline import Timelines
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import USERS_TABLE

COUNTS = "counts"  # outputs beside the main one
REPORT = "report"

SEED = "seed"  # kind of the message that makes every bucket exist

_REPEATED = {EVENTS_TABLE: "duplicate of another event", USERS_TABLE: "user has a row already"}

HELD_OUT = {"validation": page_rows.VALIDATION, "test": page_rows.TEST}

Sorted = tuple[int, bytes, bytes]  # bucket, and where the rows and the users are


class Stage(beam.DoFn):
    """What both stages know.

    Args:
        config_json: The configuration as JSON.
        starts: Microseconds at which validation and test start, for `time-cut`.
        buckets: Number of buckets.
        uri: Where the artifact is.
    """

    def __init__(self, config_json: str, starts: tuple[int, int], buckets: int, uri: str) -> None:
        self._config_json = config_json
        self._starts = starts
        self._buckets = buckets
        self._uri = uri

    def setup(self) -> None:
        """Parses the configuration once a worker."""
        self._config = TimelineConfig.model_validate_json(self._config_json)


class SortBucket(Stage):
    """Joins what all workers read of one bucket and puts it in order.

    Args:
        store: Keeps the sorted rows.
        origins: Says where rows of events and of users came from.
    """

    def __init__(self, *args: Any, store: Store, origins: dict[str, Origin]) -> None:
        super().__init__(*args)
        self._store = store
        self._origins = origins

    def process(
        self, element: tuple[int, Iterable[messages.Message]], index: bytes
    ) -> Iterator[Sorted | beam.pvalue.TaggedOutput]:
        """Yields the sorted bucket, counts of training targets, and counts for the report."""
        bucket, received = element
        group = messages.collect([m for m in received if m[1] != SEED])
        dead = list(group.dead)
        counts: Counts = {}
        if group.events is not None and group.events.num_rows:
            catalogue = CatalogueIndex(index)
            events = self._known(group.events, catalogue, dead)
            timelines, repeated = timeline.build(events, group.users)
            for table, rows in ((EVENTS_TABLE, repeated.events), (USERS_TABLE, repeated.users)):
                if rows is not None and rows.num_rows:
                    dead.append(self._origins[table].letters(rows, _REPEATED[table]))
            counts, popular = self._count(timelines, catalogue, group.users)
            yield beam.pvalue.TaggedOutput(COUNTS, popular)
            yield (bucket, *self._store.put(timelines.to_bytes()))
        else:
            yield bucket, b"", b""
        for letters in dead:
            counts.update(_sum(counts, dead_letter.count_by_reason(letters)))
        if dead:
            self._write_dead(bucket, dead)
        yield beam.pvalue.TaggedOutput(REPORT, report.pack(counts))

    def _known(self, events: pa.Table, catalogue: CatalogueIndex, dead: list[pa.Table]) -> pa.Table:
        """Takes events of unknown entities out, where the configuration says so."""
        if self._config.unknown_entities == "keep":
            return events
        entity = pa.concat_arrays(events.column("entity").chunks).dictionary_encode()
        known = catalogue.find(hash_ids(entity.dictionary))[0][np.asarray(entity.indices)]
        if not known.all():
            rest = events.filter(pa.array(~known))
            origin = self._origins[EVENTS_TABLE]
            dead.append(origin.letters(rest, "entity is not in the catalogue"))
        return events.filter(pa.array(known))

    def _count(
        self, timelines: Timelines, catalogue: CatalogueIndex, users: pa.Table | None
    ) -> tuple[Counts, bytes]:
        """Counts events and users for the report, and training targets by entity."""
        shown = timelines.shown
        events = splits.select_events(timelines, shown, self._config)
        cuts = splits.cut(timelines, events, self._config, self._starts)
        entity = timelines.codes["entity"][events.row]
        hashes = hash_ids(timelines.dictionaries["entity"])
        known, available = catalogue.find(hashes)
        trained = entity[splits.training_targets(events, cuts.train_end)]
        popular = np.bincount(trained, minlength=len(hashes))
        some = np.flatnonzero(popular)
        time = timelines.timestamp[events.row]
        held = np.union1d(cuts.validation.user, cuts.test.user)
        counts = {
            "events/kept": len(events.row),
            "events/impressions": int(shown.sum()),
            "events/in_training": int((cuts.train_end - events.offsets[:-1]).sum()),
            "events/may_be_training_targets": len(trained),
            "events/before_available_from": int((available[entity] > time).sum()),
            "events/not_in_catalogue": int((~known[entity]).sum()),
            "users/all": len(timelines.users),
            "users/with_one_event": int((np.diff(events.offsets) == 1).sum()),
            "users/without_held_out_targets": len(timelines.users) - len(held),
            "users/in_users_table": 0 if users is None else users.num_rows,
        }
        return counts, popularity.pack_counts(hashes[some], popular[some])

    def _write_dead(self, bucket: int, tables: list[pa.Table]) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(dead_letter.concat(tables), sink)
        name = f"{dead_letter.DIRECTORY}/rows-{bucket:05d}-of-{self._buckets:05d}.parquet"
        tfrecord.write_file(self._uri, name, sink.getvalue().to_pybytes())


class WriteBucket(Stage):
    """Writes one file a split with the examples of a sorted bucket."""

    def process(self, element: Sorted, index: bytes, classes: bytes) -> Iterator[bytes]:
        """Yields counts for the report."""
        number, rows, users = element
        if not rows:
            for split in ("train", *HELD_OUT):
                self._write(split, number, [])
            return
        bucket = self._bucket(Timelines.from_bytes(Store.get(rows), Store.get(users)))
        counts: Counts = {}
        with ThreadPoolExecutor() as pool:  # encoding and gzip release the lock
            jobs = [pool.submit(self._train, bucket, number)]
            for split in HELD_OUT:
                jobs.append(pool.submit(self._held_out, bucket, number, split, index, classes))
            for job in jobs:
                counts.update(job.result())
        yield report.pack(counts)

    def _bucket(self, timelines: Timelines) -> Bucket:
        shown = timelines.shown
        events = splits.select_events(timelines, shown, self._config)
        cuts = splits.cut(timelines, events, self._config, self._starts)
        pages = page_rows.build(timelines, shown, events)
        of_split = page_rows.split_of(pages, cuts.validation_row, cuts.test_row)
        streams = assemble.shared_streams(timelines, events)
        return Bucket(timelines, events, cuts, pages, of_split, streams)

    def _train(self, bucket: Bucket, number: int) -> Counts:
        chunks = assemble.train_examples(bucket, self._config)
        examples, counts = self._limited(bucket, chunks, "train")
        time = np.zeros(len(examples.user), np.int64)  # a user of impressions alone has no time
        some = examples.end > examples.start
        time[some] = bucket.timelines.timestamp[bucket.events.row[examples.end[some] - 1]]
        no_query = np.full(len(examples.user), -1, np.int32)
        self._write("train", number, assemble.timeline_features(bucket, examples, time, no_query))
        counts["train/chunks_after_the_first"] = int((examples.chunk > 0).sum())
        return counts

    def _held_out(
        self, bucket: Bucket, number: int, split: str, index: bytes, classes: bytes
    ) -> Counts:
        held = getattr(bucket.cuts, split)
        cut = assemble.held_out_examples(bucket, held, HELD_OUT[split], self._config)
        examples, counts = self._limited(bucket, cut, split)
        first = bucket.events.row[held.targets[held.offsets[:-1]]]
        query = np.full(len(first), -1, np.int32)
        if self._config.request_query == "target":
            query = bucket.timelines.codes["query"][first]
        time = bucket.timelines.timestamp[first]
        features = assemble.timeline_features(bucket, examples, time, query)
        targets, about = assemble.target_features(bucket, held, CatalogueIndex(index), classes)
        self._write(split, number, features + targets)
        counts |= {f"{split}/targets/{name}": count for name, count in about.items()}
        counts[f"{split}/histories_truncated"] = int((examples.start > held.start).sum())
        pages = int((bucket.page_split == HELD_OUT[split]).sum())
        counts[f"{split}/pages/of_users_without_targets"] = pages - len(cut.pages)
        return counts

    def _limited(self, bucket: Bucket, examples: Examples, split: str) -> tuple[Examples, Counts]:
        most = self._config.max_impressions_per_example
        limited = assemble.limit_impressions(bucket, examples, most)
        return limited, {
            f"{split}/examples": len(examples.user),
            f"{split}/events": int((examples.end - examples.start).sum()),
            f"{split}/pages/written": len(limited.pages),
            f"{split}/pages/over_the_limit": len(examples.pages) - len(limited.pages),
        }

    def _write(self, split: str, number: int, features: list[Feature]) -> None:
        records = encode_examples(features) if features else pa.array([], pa.large_binary())
        data = tfrecord.compress_records(records, self._config.compression_level)
        tfrecord.write_file(self._uri, tfrecord.shard_name(split, number, self._buckets), data)


def _sum(counts: Counts, more: Counts) -> Counts:
    return {key: counts.get(key, 0) + value for key, value in more.items()}
