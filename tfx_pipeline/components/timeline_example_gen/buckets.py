"""The steps behind the shuffle: a bucket of users is sorted, then written, one file a split."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import apache_beam as beam
import numpy as np

from tfx_pipeline.components.timeline_example_gen import messages
from tfx_pipeline.components.timeline_example_gen import page_examples
from tfx_pipeline.components.timeline_example_gen import pages as page_rows
from tfx_pipeline.components.timeline_example_gen import popularity
from tfx_pipeline.components.timeline_example_gen import report
from tfx_pipeline.components.timeline_example_gen import splits
from tfx_pipeline.components.timeline_example_gen import timeline
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.examples import Bucket
from tfx_pipeline.components.timeline_example_gen.examples import Examples
from tfx_pipeline.components.timeline_example_gen.examples import held_out_examples
from tfx_pipeline.components.timeline_example_gen.examples import limit_impressions
from tfx_pipeline.components.timeline_example_gen.examples import shared_streams
from tfx_pipeline.components.timeline_example_gen.examples import target_features
from tfx_pipeline.components.timeline_example_gen.examples import timeline_features
from tfx_pipeline.components.timeline_example_gen.examples import train_examples
from tfx_pipeline.components.timeline_example_gen.messages import Store
from tfx_pipeline.components.timeline_example_gen.negatives import Items
from tfx_pipeline.components.timeline_example_gen.report import Counts
from tfx_pipeline.components.timeline_example_gen.timeline import Timelines
from tfx_pipeline.datasets import dead_letter
from tfx_pipeline.datasets.catalogue_index import CatalogueIndex
from tfx_pipeline.datasets.dead_letter import Origin
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import USERS_TABLE
from tfx_pipeline.datasets.row_hash import hash_ids
from tfx_pipeline.datasets.rules import reason
from tfx_pipeline.examples import tfrecord
from tfx_pipeline.examples.encode import Feature
from tfx_pipeline.examples.encode import encode_examples
from transforms.arrow import pa
from transforms.arrow import pq
from transforms.features import PAGE_SPLITS

COUNTS = "counts"  # outputs beside the main ones
REPORT = "report"
PAGE_IDS = "page_ids"

SEED = "seed"  # kind of the message that makes every bucket exist

HELD_OUT = {"validation": page_rows.VALIDATION, "test": page_rows.TEST}
PAGES = dict(zip(PAGE_SPLITS, HELD_OUT.values(), strict=True))

Sorted = tuple[int, bytes, bytes]  # bucket, and where its rows and its users are


class BucketFn(beam.DoFn):
    """Base of the steps: the configuration and where things are.

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
        self._most_users = -(-self._config.max_held_out_users // self._buckets)


class SortBucket(BucketFn):
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
        dead, counts, catalogue = list(group.dead), Counts(), CatalogueIndex(index)
        users = self._distinct(group.users, dead)
        events = self._known(group.events, catalogue, dead)
        if users is not None:
            counts["users/in_users_table"] = users.num_rows
        if events is not None and events.num_rows:
            timelines, repeated = timeline.build(events, users)
            if repeated.num_rows:
                self._reject(dead, EVENTS_TABLE, repeated, "duplicate-event")
            more, popular = self._count(timelines, catalogue)
            counts.update(more)
            yield beam.pvalue.TaggedOutput(COUNTS, popular)
            yield (bucket, *self._store.put(timelines.to_bytes()))
        else:
            yield bucket, b"", b""
        for letters in dead:
            counts.update(_sum(counts, dead_letter.count_by_reason(letters)))
        if dead:
            self._write_dead(bucket, dead)
        for repaired in group.repaired:
            for why, count in zip(*repaired.to_pydict().values(), strict=True):
                key = f"repaired/{EVENTS_TABLE}/{why}"
                counts[key] = counts.get(key, 0) + count
        yield beam.pvalue.TaggedOutput(REPORT, report.pack(counts))

    def _distinct(self, users: pa.Table | None, dead: list[pa.Table]) -> pa.Table | None:
        """Takes further rows of the same user out."""
        if users is None:
            return None
        first = timeline.first_of_each(users.column("user"))
        if not first.all():
            again = users.filter(pa.array(~first))
            self._reject(dead, USERS_TABLE, again, "duplicate-row")
        return users.filter(pa.array(first))

    def _known(
        self, events: pa.Table | None, catalogue: CatalogueIndex, dead: list[pa.Table]
    ) -> pa.Table | None:
        """Takes events of unknown entities out, where the configuration says so."""
        if events is None or self._config.unknown_entities == "keep":
            return events
        entity = pa.concat_arrays(events.column("entity").chunks).dictionary_encode()
        known = catalogue.find(hash_ids(entity.dictionary))[0][np.asarray(entity.indices)]
        if not known.all():
            unknown = events.filter(pa.array(~known))
            self._reject(dead, EVENTS_TABLE, unknown, "unknown-entity")
        return events.filter(pa.array(known))

    def _reject(self, dead: list[pa.Table], table: str, rows: pa.Table, kind: str) -> None:
        dead.append(self._origins[table].letters(rows, reason(kind, "", table)))

    def _count(self, timelines: Timelines, catalogue: CatalogueIndex) -> tuple[Counts, bytes]:
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
            "events/may_be_targets": int(events.eligible.sum()),
            "events/may_be_targets_in_catalogue": int((events.eligible & known[entity]).sum()),
            "events/may_be_training_targets": len(trained),
            "events/before_available_from": int((available[entity] > time).sum()),
            "events/not_in_catalogue": int((~known[entity]).sum()),
            "users/all": len(timelines.users),
            "users/with_one_event": int((np.diff(events.offsets) == 1).sum()),
            "users/without_held_out_targets": len(timelines.users) - len(held),
        }
        return counts, popularity.pack_counts(hashes[some], popular[some])

    def _write_dead(self, bucket: int, tables: list[pa.Table]) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(dead_letter.concat(tables), sink)
        name = f"{dead_letter.DIRECTORY}/rows-{bucket:05d}-of-{self._buckets:05d}.parquet"
        tfrecord.write_file(self._uri, name, sink.getvalue().to_pybytes())


class WriteBucket(BucketFn):
    """Writes one file a split with the examples of a sorted bucket."""

    def process(
        self, element: Sorted, index: bytes, classes: bytes, names: bytes = b""
    ) -> Iterator[bytes | beam.pvalue.TaggedOutput]:
        """Yields counts for the report and, of labelled impressions, hashes of page ids."""
        number, rows, users = element
        label = self._config.label
        if not rows:
            for split in ("train", *HELD_OUT, *(PAGES if label else ())):
                self._write(split, number, [])
            return
        bucket = self._bucket(Timelines.from_bytes(Store.get(rows), Store.get(users)))
        items = Items(names, CatalogueIndex(index), self._config.candidate_types)
        counts: Counts = {}
        with ThreadPoolExecutor() as pool:  # encoding and gzip release the lock
            jobs = [pool.submit(self._train, bucket, number)]
            for split in HELD_OUT:
                jobs.append(pool.submit(self._held_out, bucket, number, split, index, classes))
            for split in PAGES if label else ():
                jobs.append(pool.submit(self._pages, bucket, number, split, items, index, classes))
            for job in jobs:
                counts.update(job.result())
        if label and label.source == "impressions":
            timelines, pages = bucket.timelines, bucket.pages
            given = (timelines, pages, bucket.page_split, CatalogueIndex(index), label.heads)
            counts.update(page_rows.count(*given))
            for part, hashes in page_rows.divide_ids(timelines, pages, self._buckets):
                yield beam.pvalue.TaggedOutput(PAGE_IDS, (part, hashes))
        if label and label.source != "impressions":
            found = page_examples.count_training_events(bucket, label, items)
            counts.update({f"train/{name}": value for name, value in found.items()})
        yield report.pack(counts)

    def _bucket(self, timelines: Timelines) -> Bucket:
        shown = timelines.shown
        events = splits.select_events(timelines, shown, self._config)
        cuts = splits.cut(timelines, events, self._config, self._starts)
        label = self._config.label
        of_impressions = label if label and label.source == "impressions" else None
        pages = page_rows.build(timelines, shown, events, of_impressions)
        of_split = page_rows.split_of(pages.last_row, pages.user, cuts)
        streams = shared_streams(timelines, events)
        return Bucket(timelines, events, cuts, pages, of_split, streams)

    def _train(self, bucket: Bucket, number: int) -> Counts:
        chunks = train_examples(bucket, self._config)
        examples, counts = self._limited(bucket, chunks, "train")
        time = np.zeros(len(examples.user), np.int64)  # a user of impressions alone has no time
        some = examples.end > examples.start
        time[some] = bucket.timelines.timestamp[bucket.events.row[examples.end[some] - 1]]
        no_query = np.full(len(examples.user), -1, np.int32)
        features = timeline_features(bucket, examples, time, no_query, with_labels=True)
        self._write("train", number, features)
        counts["train/chunks_after_the_first"] = int((examples.chunk > 0).sum())
        return counts

    def _held_out(
        self, bucket: Bucket, number: int, split: str, index: bytes, classes: bytes
    ) -> Counts:
        of_split = getattr(bucket.cuts, split)
        held = splits.draw_examples(bucket.timelines, of_split, self._most_users)
        cut = held_out_examples(bucket, held, HELD_OUT[split], self._config)
        examples, counts = self._limited(bucket, cut, split)
        first = bucket.events.row[held.targets[held.offsets[:-1]]]
        query = np.full(len(first), -1, np.int32)
        if self._config.request_query == "target":
            query = bucket.timelines.codes["query"][first]
        time = bucket.timelines.timestamp[first]
        features = timeline_features(bucket, examples, time, query)
        targets, about = target_features(bucket, held, CatalogueIndex(index), classes)
        self._write(split, number, features + targets)
        counts |= {f"{split}/targets/{name}": count for name, count in about.items()}
        counts[f"{split}/histories_truncated"] = int((examples.start > held.start).sum())
        counts[f"{split}/users_left_out"] = len(of_split.user) - len(held.user)
        page_user = bucket.pages.user[bucket.page_split == HELD_OUT[split]]
        without = int((~np.isin(page_user, of_split.user)).sum())
        counts[f"{split}/pages/of_users_without_targets"] = without
        return counts

    def _limited(self, bucket: Bucket, examples: Examples, split: str) -> tuple[Examples, Counts]:
        most = self._config.max_impressions_per_example
        limited = limit_impressions(bucket, examples, most)
        return limited, {
            f"{split}/examples": len(examples.user),
            f"{split}/events": int((examples.end - examples.start).sum()),
            f"{split}/pages/written": len(limited.pages),
            f"{split}/pages/over_the_limit": len(examples.pages) - len(limited.pages),
        }

    def _pages(
        self, bucket: Bucket, number: int, split: str, items: Items, index: bytes, classes: bytes
    ) -> Counts:
        label = self._config.label
        assert label is not None
        most = label.max_history
        pages = page_examples.held_out_pages(bucket, PAGES[split], label, items, self._most_users)
        slices = page_examples.slice_candidates(bucket, pages, CatalogueIndex(index), classes)
        self._write_records(split, number, page_examples.records(bucket, pages, slices, most))
        counts = page_examples.count(pages, slices, label)
        counts["histories_truncated"] = int((pages.history > most).sum())
        return {f"{split}/{name}": value for name, value in counts.items()}

    def _write(self, split: str, number: int, features: list[Feature]) -> None:
        self._write_records(split, number, [encode_examples(features)] if features else [])

    def _write_records(
        self, split: str, number: int, records: Iterable[pa.LargeBinaryArray]
    ) -> None:
        parts = tfrecord.compress_records(records, self._config.compression_level)
        tfrecord.write_file(self._uri, tfrecord.shard_name(split, number, self._buckets), parts)


def _sum(counts: Counts, more: Counts) -> Counts:
    return {key: counts.get(key, 0) + value for key, value in more.items()}
