"""The Beam job of an export: an event log and towers in, tables of embeddings out.

Rows are divided among parts by a hash of their key, those of an earlier export likewise. A row
whose example has not changed since keeps its embedding, one that is no longer there is left
out, and all others are embedded. No step holds more than one part.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import RunInference

from serving.index.embedding.embed import release_models
from serving.index.embedding.shards import from_ipc
from serving.index.embedding.shards import to_ipc
from serving.index.embedding.tables import TableHandler
from tfx_pipeline.components.timeline_example_gen import job
from tfx_pipeline.components.timeline_example_gen import report
from tfx_pipeline.components.timeline_example_gen.buckets import REPORT
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.messages import Store
from tfx_pipeline.components.timeline_example_gen.messages import temporary_storage
from tfx_pipeline.components.timeline_example_gen.messages import unpack
from tfx_pipeline.components.timeline_example_gen.plan import Plan
from tfx_pipeline.components.timeline_example_gen.plan import make_plan
from tfx_pipeline.datasets import dead_letter
from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.examples import tfrecord
from tfx_pipeline.export.files import FINGERPRINT
from tfx_pipeline.export.files import ITEMS
from tfx_pipeline.export.files import MODEL_VERSION
from tfx_pipeline.export.files import TABLES
from tfx_pipeline.export.files import USERS
from tfx_pipeline.export.files import Export
from tfx_pipeline.export.files import Table
from tfx_pipeline.export.rows import EarlierRows
from tfx_pipeline.export.rows import ItemRows
from tfx_pipeline.export.rows import UserRows
from tfx_pipeline.export.rows import whole_timelines
from transforms.arrow import pa
from transforms.arrow import pc
from transforms.arrow import pq
from transforms.stack import make_pipeline

ITEMS_A_PART = 65_536
EMBED_BATCH = 512
_CHANGES = "changes"


@dataclass(frozen=True)
class Model:
    """A model that embeds.

    Attributes:
        towers_dir: SavedModel of towers, or of a servable that holds them.
        fingerprint: Of the towers' content.
        version: What rows say of it.
        candidate_types: Entity types that it embeds; ["*"] is every type.
    """

    towers_dir: str
    fingerprint: str
    version: str
    candidate_types: tuple[str, ...]


def embed_log(
    log_dir: str,
    config: TimelineConfig,
    model: Model,
    target: Path,
    earlier: Export | None,
    options: Iterable[str],
    made: Path | None = None,
) -> dict[str, Any]:
    """Embeds the users and the items of an event log.

    Args:
        log_dir: Directory of the event log.
        config: How timelines are made of it; that they are divided is of no meaning here.
        model: What embeds.
        target: Directory in which the tables appear, and dead letters of the log.
        earlier: Embeddings of the same towers, which are kept where nothing has changed.
        options: Of Beam.
        made: Directory of tables of declared fields that are not in the log, `features/<name>`.

    Returns:
        Counts by table.

    Raises:
        FileNotFoundError: There is no event log, or no SavedModel.
        ValueError: The log does not fit, too many of its rows are bad, or an embedding is not
            finite.
    """
    timelines = whole_timelines(config)
    plan = make_plan(log_dir, timelines, made)
    uri = str(target)
    folders = (*(table.name for table in TABLES), dead_letter.DIRECTORY, tfrecord.STAGING)
    for name in folders:
        (target / name).mkdir(parents=True)
    pipeline = make_pipeline(options)
    with temporary_storage(pipeline) as directory:
        _build(pipeline, plan, uri, timelines, model, earlier, Store(directory))
        pipeline.run().wait_until_finish()
    release_models()
    counts = job.finish(uri, plan, timelines)
    (target / report.NAME).unlink()
    letters = target / dead_letter.DIRECTORY
    dead_letter.check_threshold(counts, timelines.max_dead_letter_fraction, str(letters))
    if not any(letters.iterdir()):
        letters.rmdir()
    return counts


def _build(
    pipeline: beam.Pipeline,
    plan: Plan,
    uri: str,
    config: TimelineConfig,
    model: Model,
    earlier: Export | None,
    store: Store,
) -> None:
    _, index = job.catalogue_index(pipeline, plan)
    ordered = job.sorted_buckets(pipeline, plan, uri, config, store, index)
    users = beam.ParDo(UserRows(*job.bucket_settings(plan, uri, config), store=store))
    user_rows = ordered["sorted"] | "UserRows" >> users
    parts = -(-plan.rows[CATALOGUE_TABLE] // ITEMS_A_PART)
    read = ItemRows(
        *job.catalogue_settings(plan, uri, config),
        candidate_types=model.candidate_types,
        parts=parts,
        store=store,
    )
    catalogue, reports = job.catalogue_rows(pipeline, plan, uri, config, store, index)
    items = catalogue | "ItemRows" >> beam.ParDo(read, index).with_outputs(REPORT, main="rows")
    made = ((USERS, user_rows, plan.buckets), (ITEMS, items["rows"], parts))
    for table, rows, number in made:
        reports.append(
            (rows, _earlier(pipeline, table, number, earlier, store))
            | f"Embed{table.name}" >> EmbedChanged(table, model, uri, number)
        )
    job.write_counts([ordered[REPORT], items[REPORT], *reports], uri)


def _earlier(
    pipeline: beam.Pipeline, table: Table, parts: int, earlier: Export | None, store: Store
) -> beam.PCollection:
    """Returns the rows of an earlier export; none where there is no export."""
    files = earlier.files(table) if earlier else []
    return (
        pipeline
        | f"Earlier{table.name}" >> beam.Create(files).with_output_types(str)
        | f"Read{table.name}" >> beam.ParDo(EarlierRows(table, parts, store))
    )


class EmbedChanged(beam.PTransform):
    """Writes the parts of a table: (rows, earlier rows) -> counts for the report.

    Args:
        table: Which.
        model: What embeds.
        uri: Where the export is.
        parts: Number of its parts.
    """

    def __init__(self, table: Table, model: Model, uri: str, parts: int) -> None:
        super().__init__()
        self._table = table
        self._model = model
        self._uri = uri
        self._parts = parts

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection:
        """Builds the steps."""
        table, model, uri, parts = self._table, self._model, self._uri, self._parts
        divide = beam.FlatMap(_divide, table).with_outputs(_CHANGES, main="rows")
        divided = inputs | "ByPart" >> beam.CoGroupByKey() | "Divide" >> divide
        written = (
            divided["rows"]
            | "Embed" >> RunInference(TableHandler(model.towers_dir, table.signature, EMBED_BATCH))
            | "Write" >> beam.Map(_write, table, uri, parts, model.version)
        )
        return (divided[_CHANGES], written) | "Counts" >> beam.Flatten()


def _divide(
    grouped: tuple[int, tuple[Iterable[bytes], Iterable[bytes]]], table: Table
) -> Iterator[Any]:
    """Yields the rows of a part that are to be embedded and those that are not, and counts."""
    part, (now, before) = grouped
    rows, earlier = (_collect(addresses) for addresses in (now, before))
    kept = pa.table({})
    dropped = len(earlier) if earlier is not None else 0
    if rows is not None and earlier is not None:
        at = pc.index_in(table.key(rows), value_set=table.key(earlier))  # null for new ones
        dropped -= len(rows) - at.null_count
        same = pc.equal(earlier[FINGERPRINT].take(at), rows[FINGERPRINT]).combine_chunks()
        same = same.fill_null(False)
        kept = earlier.take(at.filter(same)).drop([MODEL_VERSION])
        rows = rows.filter(pc.invert(same))
    if rows is not None:
        yield part, to_ipc(rows), to_ipc(kept)
    counts = {"dropped": dropped, "kept": len(kept), "embedded": 0 if rows is None else len(rows)}
    named = {f"{table.name}/{name}": count for name, count in counts.items()}
    yield beam.pvalue.TaggedOutput(_CHANGES, report.pack(named))


def _collect(addresses: Iterable[bytes]) -> pa.Table | None:
    tables = [unpack(Store.get(address)) for address in addresses]
    return pa.concat_tables(tables) if tables else None


def _write(
    element: tuple[int, bytes, bytes], table: Table, uri: str, parts: int, version: str
) -> bytes:
    """Writes a part, in the order of its keys; returns counts."""
    part, *contents = element
    found = [one for one in map(from_ipc, contents) if len(one)]
    rows = pa.concat_tables([one.select(found[0].column_names) for one in found])
    rows = rows.take(pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in table.keys]))
    versions = pa.array(np.zeros(len(rows), np.int32))
    named = pa.DictionaryArray.from_arrays(versions, pa.array([version])).cast(pa.string())
    sink = pa.BufferOutputStream()
    pq.write_table(rows.append_column(MODEL_VERSION, named), sink)
    tfrecord.write_file(uri, table.part(part, parts), sink.getvalue().to_pybytes())
    return report.pack({f"{table.name}/rows": len(rows)})
