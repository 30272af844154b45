"""The Beam job that fills a store of histories: that of timelines up to the sorted bucket."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.metrics import MetricsFilter

from serving.histories import HistoryStore
from serving.histories import open_store
from serving.histories.packing import Column
from serving.histories.packing import pack_columns
from tfx_pipeline.components.timeline_example_gen import job
from tfx_pipeline.components.timeline_example_gen.buckets import REPORT
from tfx_pipeline.components.timeline_example_gen.buckets import Sorted
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.messages import Store
from tfx_pipeline.components.timeline_example_gen.messages import temporary_storage
from tfx_pipeline.components.timeline_example_gen.plan import make_plan
from tfx_pipeline.components.timeline_example_gen.timeline import Timelines
from tfx_pipeline.datasets import dead_letter
from tfx_pipeline.examples import tfrecord
from tfx_pipeline.export.rows import whole_timelines
from transforms.arrow import pa
from transforms.stack import make_pipeline

_NAMESPACE = "histories"


def fill_store(
    log_dir: str, config: TimelineConfig, address: str, target: Path, options: Iterable[str]
) -> dict[str, int]:
    """Replaces the histories of the users of an event log, whole lives and no split.

    Users that the log lacks keep theirs. Rows that a run would turn away are turned away here.

    Args:
        log_dir: Directory of the event log.
        config: How timelines are made of it; that they are divided is of no meaning here.
        address: The store (`serving.histories.open_store`), where every worker can reach it.
        target: Directory of dead letters of the log, and of the report on its rows.
        options: Of Beam.

    Returns:
        Numbers of `users` and `events`, and the `bytes` that they take.

    Raises:
        FileNotFoundError: There is no event log.
        ValueError: The log does not fit, or too many of its rows are bad.
    """
    timelines = whole_timelines(config)
    plan, uri = make_plan(log_dir, timelines), str(target)
    for name in (dead_letter.DIRECTORY, tfrecord.STAGING):
        (target / name).mkdir(parents=True, exist_ok=True)
    pipeline = make_pipeline(options)
    with temporary_storage(pipeline) as directory:
        _, index = job.catalogue_index(pipeline, plan)
        ordered = job.sorted_buckets(pipeline, plan, uri, timelines, Store(directory), index)
        _ = ordered["sorted"] | "WriteHistories" >> beam.ParDo(WriteHistories(address))
        job.write_counts([ordered[REPORT]], uri)
        result = pipeline.run()
        result.wait_until_finish()
    counts = job.finish(uri, plan, timelines)
    letters = str(target / dead_letter.DIRECTORY)
    dead_letter.check_threshold(counts, timelines.max_dead_letter_fraction, letters)
    found = result.metrics().query(MetricsFilter().with_namespace(_NAMESPACE))["counters"]
    return {one.key.metric.name: one.result for one in found}


class WriteHistories(beam.DoFn):
    """Writes the histories of a sorted bucket.

    Args:
        address: The store.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._counters = {
            name: Metrics.counter(_NAMESPACE, name) for name in ("users", "events", "bytes")
        }

    def setup(self) -> None:
        """Opens the store once a worker."""
        self._store: HistoryStore = open_store(self._address)

    def process(self, element: Sorted) -> tuple[()]:
        """Writes the users of a bucket; yields nothing."""
        _, rows, users = element
        if not rows:
            return ()
        timelines = Timelines.from_bytes(Store.get(rows), Store.get(users))
        histories = list(pack_users(timelines))
        self._store.write_packed(histories)
        self._counters["users"].inc(len(histories))
        self._counters["events"].inc(int((~timelines.shown).sum()))
        self._counters["bytes"].inc(sum(len(data) for _, data in histories))
        return ()

    def teardown(self) -> None:
        """Lets go of the store."""
        self._store.close()


def pack_users(timelines: Timelines) -> Iterator[tuple[str, bytes]]:
    """Yields the users of timelines who did something, and their packed histories."""
    row = np.flatnonzero(~timelines.shown)
    offsets = np.searchsorted(timelines.user[row], np.arange(len(timelines.users) + 1))
    texts = {
        name: np.array([*timelines.dictionaries[name].cast(pa.string()).to_pylist(), ""], object)
        for name in ("entity", "event", "query")
    }  # the last one stands for null, whose code is -1
    for number, user in enumerate(timelines.users.cast(pa.string()).to_pylist()):
        mine = row[offsets[number] : offsets[number + 1]]
        if len(mine):
            columns = [
                _column(texts[name], timelines.codes[name][mine])
                for name in ("entity", "event", "query")
            ]
            yield user, pack_columns(columns, timelines.timestamp[mine], timelines.value[mine])


def _column(texts: np.ndarray, codes: np.ndarray) -> Column:
    distinct, index = np.unique(codes, return_inverse=True)
    return Column(texts[distinct].tolist(), index)
