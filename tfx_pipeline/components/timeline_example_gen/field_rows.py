"""Declared fields: their rows are sent to the part of the catalogue that has their entity.

No worker holds a table. One that sends holds a batch of 16,384 of its rows, whatever
the file's row groups; one that writes a part of the catalogue holds the values of its
entities: of a vector of 64 numbers 16,384 rows x 64 x 4 bytes, 4 MB (a part is at
least a row group of the catalogue).
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

import apache_beam as beam
import numpy as np

from tfx_pipeline.components.timeline_example_gen import messages
from tfx_pipeline.components.timeline_example_gen import report
from tfx_pipeline.components.timeline_example_gen.buckets import REPORT
from tfx_pipeline.components.timeline_example_gen.buckets import SEED
from tfx_pipeline.components.timeline_example_gen.messages import Store
from tfx_pipeline.datasets import dead_letter
from tfx_pipeline.datasets.catalogue_index import CatalogueIndex
from tfx_pipeline.datasets.dead_letter import Origin
from tfx_pipeline.datasets.file_parts import FilePart
from tfx_pipeline.datasets.file_parts import batches
from tfx_pipeline.datasets.judge import judge
from tfx_pipeline.datasets.judge import judged_columns
from tfx_pipeline.datasets.limits import Limits
from tfx_pipeline.datasets.row_hash import hash_ids
from tfx_pipeline.datasets.rules import reason
from tfx_pipeline.datasets.schemas import FEATURES_TABLE
from tfx_pipeline.examples import tfrecord
from tfx_pipeline.examples.catalogue import encode_field
from tfx_pipeline.examples.encode import Feature
from transforms.arrow import pa
from transforms.arrow import pq

ROWS_A_BATCH = 16_384
_BUFFER = 1 << 20


class SendFields(beam.DoFn):
    """Reads parts of the tables of declared fields and sends each row to its entity's part.

    Args:
        limits_json: `Limits` as JSON.
        unknown_entities: What to do with rows whose entity is not in the catalogue.
        starts: Number of the first row of each part of the catalogue.
        store: Temporary storage of rows.
        uri: Where the artifact is, for dead letters.
    """

    def __init__(
        self,
        limits_json: str,
        unknown_entities: str,
        starts: Sequence[int],
        store: Store,
        uri: str,
    ) -> None:
        self._limits_json = limits_json
        self._drop_unknown = unknown_entities == "dead-letter"
        self._starts = np.asarray(starts, np.int64)
        self._store = store
        self._uri = uri

    def setup(self) -> None:
        """Parses the limits once a worker."""
        self._limits = Limits.model_validate_json(self._limits_json)

    def process(
        self, element: FilePart, index: bytes
    ) -> Iterator[tuple[int, messages.Message] | beam.pvalue.TaggedOutput]:
        """Yields (part of the catalogue, message) pairs, and counts for the report."""
        file_part, catalogue = FilePart(*element), CatalogueIndex(index)
        columns = judged_columns(file_part.table, self._limits)
        dead, read, matched = [], 0, 0
        for first, batch in batches(file_part, columns, ROWS_A_BATCH, _BUFFER):
            found, entity = judge(batch, self._limits), batch.names()
            known, row = catalogue.rows(hash_ids(entity))
            if self._drop_unknown:
                found.mark("unknown-entity", "entity_id", ~known)
            if len(bad := found.rejected):
                why = found.reasons()
                dead.append(dead_letter.letters_of(file_part, first, batch.rows, bad, why))
            chosen = found.good & known
            read, matched = read + int(found.good.sum()), matched + int(chosen.sum())
            rows = pa.table(
                {
                    "entity": entity,
                    "row": file_part.first_row + first + np.arange(len(batch)),
                    "catalogue_row": row,
                    columns[-1]: batch.column(columns[-1]),
                }
            )
            yield from self._send(file_part, first, rows.filter(pa.array(chosen)))
        name = file_part.table.removeprefix(f"{FEATURES_TABLE}.")
        counts = {f"fields/{name}/rows": read, f"fields/{name}/in_catalogue": matched}
        if dead:
            letters = dead_letter.concat(dead)
            counts |= dead_letter.count_by_reason(letters)
            sink = pa.BufferOutputStream()
            pq.write_table(letters, sink)
            name = f"{dead_letter.DIRECTORY}/{file_part.table}-{file_part.number:05d}.parquet"
            tfrecord.write_file(self._uri, name, sink.getvalue().to_pybytes())
        yield beam.pvalue.TaggedOutput(REPORT, report.pack(counts))

    def _send(
        self, file_part: FilePart, first: int, rows: pa.Table
    ) -> Iterator[tuple[int, messages.Message]]:
        """Divides rows by the part of the catalogue that has their entities."""
        if not rows.num_rows:
            return
        target = np.searchsorted(self._starts, rows.column("catalogue_row"), side="right") - 1
        order = np.argsort(target, kind="stable")
        targets, begins = np.unique(target[order], return_index=True)
        ordered = rows.take(pa.array(order))
        parts = [
            ordered.slice(begin, end - begin)
            for begin, end in zip(begins, [*begins[1:], len(order)], strict=True)
        ]
        addresses = self._store.put([messages.pack(part) for part in parts])
        for number, address in zip(targets.tolist(), addresses, strict=True):
            yield number, (file_part.first_row + first, file_part.table, address)


class JoinedFields:
    """Rows of declared fields that belong to one part of the catalogue.

    Of several rows for one entity the first in its table counts.

    Args:
        received: What `SendFields` sent.
        origins: Where rows came from, by table.

    Attributes:
        dead_letters: The further rows.
    """

    def __init__(self, received: Iterable[messages.Message], origins: Mapping[str, Origin]) -> None:
        parts: dict[str, list[pa.Table]] = {}
        for _, table, address in sorted(m for m in received if m[1] != SEED):
            parts.setdefault(table, []).append(messages.unpack(Store.get(address)))
        self._tables: dict[str, pa.Table] = {}
        self.dead_letters: list[pa.Table] = []
        for table, tables in parts.items():
            rows = pa.concat_tables(tables)
            order = np.lexsort((rows.column("row"), rows.column("catalogue_row")))
            rows = rows.take(pa.array(order))
            entity = np.asarray(rows.column("catalogue_row"))
            first = np.diff(entity, prepend=-1) != 0
            if not first.all():
                again = rows.filter(pa.array(~first))
                why = reason("duplicate-row", "", table)
                self.dead_letters.append(origins[table].letters(again, why))
            self._tables[table] = rows.filter(pa.array(first))

    def features(self, first_row: int, rows: int) -> list[Feature]:
        """Returns the fields of consecutive rows of the catalogue.

        Args:
            first_row: Number of the first one in the log.
            rows: How many there are, n.

        Returns:
            One feature of n examples a field, absent where the entity has no value.
        """
        features = []
        for table, values in self._tables.items():
            row = np.asarray(values.column("catalogue_row")) - first_row
            begin, end = np.searchsorted(row, [0, rows])
            if begin < end:
                column = values.column_names[-1]
                lists = pa.concat_arrays(values.column(column).slice(begin, end - begin).chunks)
                name = table.removeprefix(f"{FEATURES_TABLE}.")
                features.append(encode_field(name, column, lists, row[begin:end], rows))
        return features
