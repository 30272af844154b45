"""The third stage: a sorted bucket becomes one file a split."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tfx_pipeline.components.timeline_example_gen import assemble
from tfx_pipeline.components.timeline_example_gen import examples as choose
from tfx_pipeline.components.timeline_example_gen import pages as page_rows
from tfx_pipeline.components.timeline_example_gen import report
from tfx_pipeline.components.timeline_example_gen import splits
from tfx_pipeline.components.timeline_example_gen import tfrecord
from tfx_pipeline.components.timeline_example_gen.catalogue_index import CatalogueIndex
from tfx_pipeline.components.timeline_example_gen.encode import Feature
from tfx_pipeline.components.timeline_example_gen.encode import encode_examples
from tfx_pipeline.components.timeline_example_gen.examples import Bucket
from tfx_pipeline.components.timeline_example_gen.examples import Examples
from tfx_pipeline.components.timeline_example_gen.report import Counts
from tfx_pipeline.components.timeline_example_gen.stage import Sorted
from tfx_pipeline.components.timeline_example_gen.stage import Stage
from tfx_pipeline.components.timeline_example_gen.store import Store
from tfx_pipeline.components.timeline_example_gen.targets import target_features
from tfx_pipeline.components.timeline_example_gen.timeline import Timelines
from transforms.arrow import pa

HELD_OUT = {"validation": page_rows.VALIDATION, "test": page_rows.TEST}


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
        chunks = choose.train_examples(bucket, self._config)
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

    def _write(self, split: str, number: int, features: list[Feature]) -> None:
        records = encode_examples(features) if features else pa.array([], pa.large_binary())
        data = tfrecord.compress_records(records, self._config.compression_level)
        tfrecord.write_file(self._uri, tfrecord.shard_name(split, number, self._buckets), data)
