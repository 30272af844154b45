"""The split `catalogue`: one `tf.Example` a row of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

import apache_beam as beam
import numpy as np

from tfx_pipeline.components.timeline_example_gen import report
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.field_rows import JoinedFields
from tfx_pipeline.components.timeline_example_gen.messages import Message
from tfx_pipeline.datasets import dead_letter
from tfx_pipeline.datasets.catalogue_index import CatalogueIndex
from tfx_pipeline.datasets.dead_letter import Origin
from tfx_pipeline.datasets.file_parts import FilePart
from tfx_pipeline.datasets.file_parts import batches
from tfx_pipeline.datasets.judge import COLUMNS
from tfx_pipeline.datasets.limits import Limits
from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from tfx_pipeline.examples import tfrecord
from tfx_pipeline.examples.catalogue import read_rows
from tfx_pipeline.examples.encode import encode_examples
from transforms.arrow import pa
from transforms.arrow import pq


class CatalogueFn(beam.DoFn):
    """Base of what reads parts of the catalogue, the declared fields of their rows joined.

    Args:
        config_json: A `TimelineConfig` as JSON.
        limits_json: `Limits` as JSON.
        file_parts: All parts of the catalogue, in order.
        uri: Where dead letters go, and what is written.
        origins: Where rows of the tables of declared fields came from, by table.
    """

    def __init__(
        self,
        config_json: str,
        limits_json: str,
        file_parts: Sequence[FilePart],
        uri: str,
        origins: Mapping[str, Origin],
    ) -> None:
        self._config_json = config_json
        self._limits_json = limits_json
        self._file_parts = file_parts
        self._shards = len(file_parts)
        self._uri = uri
        self._origins = origins

    def setup(self) -> None:
        """Parses the configuration once a worker."""
        self._config = TimelineConfig.model_validate_json(self._config_json)
        self._limits = Limits.model_validate_json(self._limits_json)

    def read(
        self, number: int, received: Iterable[Message], index: bytes
    ) -> tuple[pa.Table, dict[str, int]]:
        """Reads a part; its dead letters are written.

        Args:
            number: Of the part.
            received: Its declared fields.
            index: What `CatalogueIndex` takes.

        Returns:
            The good rows: `entity_type`, `entity_id` (binary) and `example` (large binary);
            and counts for the report.
        """
        file_part, catalogue = self._file_parts[number], CatalogueIndex(index)
        fields = JoinedFields(received, self._origins)
        columns = [
            name
            for name in COLUMNS[CATALOGUE_TABLE]
            if name != "image" or self._config.include_images
        ]
        rows, bad, why = [], [], []
        for first, batch in batches(file_part, columns):
            features, found = read_rows(batch, file_part.first_row + first, catalogue, self._limits)
            features += fields.features(file_part.first_row + first, len(batch))
            made = {
                "entity_type": batch.column("entity_type"),
                "entity_id": batch.column("entity_id"),
                "example": encode_examples(features),
            }
            rows.append(pa.table(made).take(pa.array(np.flatnonzero(found.good))))
            bad.append(first + found.rejected)
            why += found.reasons()
        dead = fields.dead_letters
        if why:
            dead = [dead_letter.dead_letters(file_part, np.concatenate(bad), why), *dead]
        table = pa.concat_tables(rows)
        return table, {"catalogue/examples": table.num_rows} | self._write_dead(file_part, dead)

    def _write_dead(self, file_part: FilePart, dead: Sequence[pa.Table]) -> dict[str, int]:
        """Writes dead letters, if there are any, and counts them."""
        if not dead:
            return {}
        letters = dead_letter.concat(dead) if len(dead) > 1 else dead[0]
        sink = pa.BufferOutputStream()
        pq.write_table(letters, sink)
        name = f"catalogue-{file_part.number:05d}-of-{self._shards:05d}.parquet"
        data = sink.getvalue().to_pybytes()
        tfrecord.write_file(self._uri, f"{dead_letter.DIRECTORY}/{name}", data)
        return dead_letter.count_by_reason(letters)


class WriteCatalogue(CatalogueFn):
    """Writes one file for each part of the catalogue."""

    def process(self, element: tuple[int, Iterable[Message]], index: bytes) -> Iterator[bytes]:
        """Yields counts for the report; takes the number of a part and its declared fields."""
        number, received = element
        rows, counts = self.read(number, received, index)
        examples = pa.concat_arrays(rows.column("example").chunks)
        parts = tfrecord.compress_records([examples], self._config.compression_level)
        name = tfrecord.shard_name("catalogue", number, self._shards)
        tfrecord.write_file(self._uri, name, parts)
        yield report.pack(counts)
