"""The third stage: a sorted bucket becomes one file a split."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import apache_beam as beam
import numpy as np

from tfx_pipeline.components.timeline_example_gen import assemble
from tfx_pipeline.components.timeline_example_gen import examples as choose
from tfx_pipeline.components.timeline_example_gen import page_examples
from tfx_pipeline.components.timeline_example_gen import page_ids
from tfx_pipeline.components.timeline_example_gen import pages as page_rows
from tfx_pipeline.components.timeline_example_gen import report
from tfx_pipeline.components.timeline_example_gen import splits
from tfx_pipeline.components.timeline_example_gen import tfrecord
from tfx_pipeline.components.timeline_example_gen.catalogue_index import CatalogueIndex
from tfx_pipeline.components.timeline_example_gen.encode import Feature
from tfx_pipeline.components.timeline_example_gen.encode import encode_examples
from tfx_pipeline.components.timeline_example_gen.examples import Bucket
from tfx_pipeline.components.timeline_example_gen.examples import Examples
from tfx_pipeline.components.timeline_example_gen.negatives import Items
from tfx_pipeline.components.timeline_example_gen.report import Counts
from tfx_pipeline.components.timeline_example_gen.stage import Sorted
from tfx_pipeline.components.timeline_example_gen.stage import Stage
from tfx_pipeline.components.timeline_example_gen.store import Store
from tfx_pipeline.components.timeline_example_gen.targets import target_features
from tfx_pipeline.components.timeline_example_gen.timeline import Timelines
from transforms.arrow import pa
from transforms.features import PAGE_SPLITS

PAGE_IDS = "page_ids"  # an output beside the main one

HELD_OUT = {"validation": page_rows.VALIDATION, "test": page_rows.TEST}
PAGES = dict(zip(PAGE_SPLITS, HELD_OUT.values(), strict=True))


class WriteBucket(Stage):
    """Writes one file a split with the examples of a sorted bucket."""

    def process(
        self, element: Sorted, index: bytes, classes: bytes, items: bytes = b""
    ) -> Iterator[bytes | beam.pvalue.TaggedOutput]:
        """Yields counts for the report and, of labelled impressions, hashes of page ids."""
        number, rows, users = element
        label = self._config.label
        if not rows:
            for split in ("train", *HELD_OUT, *(PAGES if label else ())):
                self._write(split, number, [])
            return
        bucket = self._bucket(Timelines.from_bytes(Store.get(rows), Store.get(users)))
        counts: Counts = {}
        with ThreadPoolExecutor() as pool:  # encoding and gzip release the lock
            jobs = [pool.submit(self._train, bucket, number)]
            for split in HELD_OUT:
                jobs.append(pool.submit(self._held_out, bucket, number, split, index, classes))
            for split in PAGES if label else ():
                jobs.append(
                    pool.submit(self._pages, bucket, number, split, Items(items), index, classes)
                )
            for job in jobs:
                counts.update(job.result())
        if label and label.source == "impressions":
            timelines, pages = bucket.timelines, bucket.pages
            given = (timelines, pages, bucket.page_split, CatalogueIndex(index), label.heads)
            counts.update(page_rows.count(*given))
            for part, hashes in page_ids.divide(timelines, pages, self._buckets):
                yield beam.pvalue.TaggedOutput(PAGE_IDS, (part, hashes))
        yield report.pack(counts)

    def _bucket(self, timelines: Timelines) -> Bucket:
        shown = timelines.shown
        events = splits.select_events(timelines, shown, self._config)
        cuts = splits.cut(timelines, events, self._config, self._starts)
        label = self._config.label
        of_impressions = label if label and label.source == "impressions" else None
        pages = page_rows.build(timelines, shown, events, of_impressions)
        of_split = page_rows.split_of(pages.last_row, pages.user, cuts)
        streams = assemble.shared_streams(timelines, events)
        return Bucket(timelines, events, cuts, pages, of_split, streams)

    def _train(self, bucket: Bucket, number: int) -> Counts:
        chunks = choose.train_examples(bucket, self._config)
        examples, counts = self._limited(bucket, chunks, "train")
        time = np.zeros(len(examples.user), np.int64)  # a user of impressions alone has no time
        some = examples.end > examples.start
        time[some] = bucket.timelines.timestamp[bucket.events.row[examples.end[some] - 1]]
        no_query = np.full(len(examples.user), -1, np.int32)
        features = assemble.timeline_features(bucket, examples, time, no_query, with_labels=True)
        self._write("train", number, features)
        counts["train/chunks_after_the_first"] = int((examples.chunk > 0).sum())
        return counts

    def _held_out(
        self, bucket: Bucket, number: int, split: str, index: bytes, classes: bytes
    ) -> Counts:
        held = getattr(bucket.cuts, split)
        cut = choose.held_out_examples(bucket, held, HELD_OUT[split], self._config)
        examples, counts = self._limited(bucket, cut, split)
        first = bucket.events.row[held.targets[held.offsets[:-1]]]
        query = np.full(len(first), -1, np.int32)
        if self._config.request_query == "target":
            query = bucket.timelines.codes["query"][first]
        time = bucket.timelines.timestamp[first]
        features = assemble.timeline_features(bucket, examples, time, query)
        targets, about = target_features(bucket, held, CatalogueIndex(index), classes)
        self._write(split, number, features + targets)
        counts |= {f"{split}/targets/{name}": count for name, count in about.items()}
        counts[f"{split}/histories_truncated"] = int((examples.start > held.start).sum())
        pages = int((bucket.page_split == HELD_OUT[split]).sum())
        counts[f"{split}/pages/of_users_without_targets"] = pages - len(cut.pages)
        return counts

    def _limited(self, bucket: Bucket, examples: Examples, split: str) -> tuple[Examples, Counts]:
        most = self._config.max_impressions_per_example
        limited = choose.limit_impressions(bucket, examples, most)
        return limited, {
            f"{split}/examples": len(examples.user),
            f"{split}/events": int((examples.end - examples.start).sum()),
            f"{split}/pages/written": len(limited.pages),
            f"{split}/pages/over_the_limit": len(examples.pages) - len(limited.pages),
        }

    def _pages(
        self, bucket: Bucket, number: int, split: str, items: Items, index: bytes, classes: bytes
    ) -> Counts:
        most, label = self._config.max_events_per_example, self._config.label
        assert label is not None
        pages = page_examples.held_out_pages(bucket, PAGES[split], label, items)
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
