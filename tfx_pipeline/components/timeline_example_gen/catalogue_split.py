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


class WriteCatalogue(beam.DoFn):
    """Writes one file for each part of the catalogue, the declared fields of its rows joined.

    Args:
        config_json: A `TimelineConfig` as JSON.
        limits_json: `Limits` as JSON.
        file_parts: All parts of the catalogue, in order.
        uri: Where the artifact is.
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

    def process(self, element: tuple[int, Iterable[Message]], index: bytes) -> Iterator[bytes]:
        """Yields counts for the report; takes the number of a part and its declared fields."""
        number, received = element
        file_part, catalogue = self._file_parts[number], CatalogueIndex(index)
        fields = JoinedFields(received, self._origins)
        columns = [
            name
            for name in COLUMNS[CATALOGUE_TABLE]
            if name != "image" or self._config.include_images
        ]
        records, bad, why = [], [], []
        for first, batch in batches(file_part, columns):
            features, found = read_rows(batch, file_part.first_row + first, catalogue, self._limits)
            features += fields.features(file_part.first_row + first, len(batch))
            records.append(encode_examples(features).take(pa.array(np.flatnonzero(found.good))))
            bad.append(first + found.rejected)
            why += found.reasons()
        examples = pa.concat_arrays(records)
        parts = tfrecord.compress_records([examples], self._config.compression_level)
        name = tfrecord.shard_name("catalogue", file_part.number, self._shards)
        tfrecord.write_file(self._uri, name, parts)
        counts = {"catalogue/examples": len(examples)}
        dead = fields.dead_letters
        if why:
            dead = [dead_letter.dead_letters(file_part, np.concatenate(bad), why), *dead]
        if dead:
            letters = dead_letter.concat(dead) if len(dead) > 1 else dead[0]
            counts |= dead_letter.count_by_reason(letters)
            sink = pa.BufferOutputStream()
            pq.write_table(letters, sink)
            name = f"catalogue-{file_part.number:05d}-of-{self._shards:05d}.parquet"
            data = sink.getvalue().to_pybytes()
            tfrecord.write_file(self._uri, f"{dead_letter.DIRECTORY}/{name}", data)
        yield report.pack(counts)
