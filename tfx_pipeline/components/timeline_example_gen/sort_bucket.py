"""The second stage: a bucket is put in order."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np

from tfx_pipeline.components.timeline_example_gen import dead_letter
from tfx_pipeline.components.timeline_example_gen import messages
from tfx_pipeline.components.timeline_example_gen import popularity
from tfx_pipeline.components.timeline_example_gen import report
from tfx_pipeline.components.timeline_example_gen import splits
from tfx_pipeline.components.timeline_example_gen import tfrecord
from tfx_pipeline.components.timeline_example_gen import timeline
from tfx_pipeline.components.timeline_example_gen.catalogue_index import CatalogueIndex
from tfx_pipeline.components.timeline_example_gen.dead_letter import Origin
from tfx_pipeline.components.timeline_example_gen.hashing import hash_ids
from tfx_pipeline.components.timeline_example_gen.report import Counts
from tfx_pipeline.components.timeline_example_gen.stage import Sorted
from tfx_pipeline.components.timeline_example_gen.stage import Stage
from tfx_pipeline.components.timeline_example_gen.store import Store
from tfx_pipeline.components.timeline_example_gen.timeline import Timelines
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import USERS_TABLE
from tfx_pipeline.datasets.rules import reason
from transforms.arrow import pa
from transforms.arrow import pq

COUNTS = "counts"  # outputs beside the main one
REPORT = "report"

SEED = "seed"  # kind of the message that makes every bucket exist


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
        dead, counts, catalogue = list(group.dead), Counts(), CatalogueIndex(index)
        users = self._distinct(group.users, dead)
        events = self._known(group.events, catalogue, dead)
        if users is not None:
            counts["users/in_users_table"] = users.num_rows
        if events is not None and events.num_rows:
            timelines, repeated = timeline.build(events, users)
            if repeated.num_rows:
                self._bury(dead, EVENTS_TABLE, repeated, "duplicate-event")
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
            self._bury(dead, USERS_TABLE, again, "duplicate-row")
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
            self._bury(dead, EVENTS_TABLE, unknown, "unknown-entity")
        return events.filter(pa.array(known))

    def _bury(self, dead: list[pa.Table], table: str, rows: pa.Table, kind: str) -> None:
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


def _sum(counts: Counts, more: Counts) -> Counts:
    return {key: counts.get(key, 0) + value for key, value in more.items()}
