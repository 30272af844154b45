"""The split `catalogue`: one `tf.Example` a row of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

import apache_beam as beam
import numpy as np

from tfx_pipeline.components.timeline_example_gen import dead_letter
from tfx_pipeline.components.timeline_example_gen import report
from tfx_pipeline.components.timeline_example_gen import tfrecord
from tfx_pipeline.components.timeline_example_gen.batches import batches
from tfx_pipeline.components.timeline_example_gen.catalogue_index import CatalogueIndex
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.dead_letter import Origin
from tfx_pipeline.components.timeline_example_gen.encode import Feature
from tfx_pipeline.components.timeline_example_gen.encode import bytes_stream
from tfx_pipeline.components.timeline_example_gen.encode import encode_examples
from tfx_pipeline.components.timeline_example_gen.encode import float_stream
from tfx_pipeline.components.timeline_example_gen.encode import int_stream
from tfx_pipeline.components.timeline_example_gen.field_rows import JoinedFields
from tfx_pipeline.components.timeline_example_gen.hashing import hash_ids
from tfx_pipeline.components.timeline_example_gen.messages import Message
from tfx_pipeline.components.timeline_example_gen.piece import Piece
from tfx_pipeline.datasets.columns import Batch
from tfx_pipeline.datasets.columns import as_ragged
from tfx_pipeline.datasets.judge import COLUMNS
from tfx_pipeline.datasets.judge import Judgement
from tfx_pipeline.datasets.judge import judge
from tfx_pipeline.datasets.limits import Limits
from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from transforms import features as f
from transforms.arrow import pa
from transforms.arrow import pq

_TEXT_LISTS = {
    "categories": f.CATALOGUE_CATEGORIES,
    "attributes": f.CATALOGUE_ATTRIBUTES,
    "related_ids": f.CATALOGUE_RELATED,
}
_VECTORS = {"image_vector": f.CATALOGUE_IMAGE_VECTOR, "text_vector": f.CATALOGUE_TEXT_VECTOR}


class WriteCatalogue(beam.DoFn):
    """Writes one file for each piece of the catalogue, the declared fields of its rows joined.

    Args:
        config_json: A `TimelineConfig` as JSON.
        limits_json: `Limits` as JSON.
        pieces: All pieces of the catalogue, in order.
        uri: The artifact's place.
        origins: Where rows of the tables of declared fields came from, by table.
    """

    def __init__(
        self,
        config_json: str,
        limits_json: str,
        pieces: Sequence[Piece],
        uri: str,
        origins: Mapping[str, Origin],
    ) -> None:
        self._config_json = config_json
        self._limits_json = limits_json
        self._pieces = pieces
        self._shards = len(pieces)
        self._uri = uri
        self._origins = origins

    def setup(self) -> None:
        """Parses the configuration once a worker."""
        self._config = TimelineConfig.model_validate_json(self._config_json)
        self._limits = Limits.model_validate_json(self._limits_json)

    def process(self, element: tuple[int, Iterable[Message]], index: bytes) -> Iterator[bytes]:
        """Yields counts for the report; takes the number of a piece and its declared fields."""
        number, received = element
        piece, catalogue = self._pieces[number], CatalogueIndex(index)
        fields = JoinedFields(received, self._origins)
        columns = [
            name
            for name in COLUMNS[CATALOGUE_TABLE]
            if name != "image" or self._config.include_images
        ]
        records, bad, why = [], [], []
        for first, batch in batches(piece, columns):
            features, found = read_rows(batch, piece.first_row + first, catalogue, self._limits)
            features += fields.features(piece.first_row + first, len(batch))
            records.append(encode_examples(features).take(pa.array(np.flatnonzero(found.good))))
            bad.append(first + found.rejected)
            why += found.reasons()
        examples = pa.concat_arrays(records)
        parts = tfrecord.compress_records([examples], self._config.compression_level)
        name = tfrecord.shard_name("catalogue", piece.number, self._shards)
        tfrecord.write_file(self._uri, name, parts)
        counts = {"catalogue/examples": len(examples)}
        dead = fields.dead_letters
        if why:
            dead = [dead_letter.dead_letters(piece, np.concatenate(bad), why), *dead]
        if dead:
            letters = dead_letter.concat(dead) if len(dead) > 1 else dead[0]
            counts |= dead_letter.count_by_reason(letters)
            sink = pa.BufferOutputStream()
            pq.write_table(letters, sink)
            name = f"catalogue-{piece.number:05d}-of-{self._shards:05d}.parquet"
            data = sink.getvalue().to_pybytes()
            tfrecord.write_file(self._uri, f"{dead_letter.DIRECTORY}/{name}", data)
        yield report.pack(counts)


def read_rows(
    batch: Batch, first_row: int, catalogue: CatalogueIndex, limits: Limits
) -> tuple[list[Feature], Judgement]:
    """Judges a batch of the catalogue and encodes its columns.

    Args:
        batch: Rows of the catalogue.
        first_row: Number of its first row in the log.
        catalogue: Knows which rows repeat an entity.
        limits: What rows have to keep to.

    Returns:
        The features of all rows, and what is wrong with some of them.
    """
    found = judge(batch, limits)
    names = batch.names()
    one = np.arange(len(batch))
    found.mark("duplicate-row", "entity_id", ~catalogue.first(hash_ids(names), first_row + one))
    types = batch.column("entity_type").fill_null(b"")
    features = [
        Feature(f.CATALOGUE_ENTITY, bytes_stream(names), one, one + 1),
        Feature(f.CATALOGUE_TYPE, bytes_stream(types), one, one + 1),
        *_single_values(batch, one),
        *_lists(batch),
    ]
    return features, found


def _single_values(batch: Batch, one: np.ndarray) -> list[Feature]:
    """Encodes columns of one value a row; a null leaves the feature out."""
    features = []
    for name, feature in (("title", f.CATALOGUE_TITLE), ("image", f.CATALOGUE_IMAGE)):
        if (values := batch.given(name)) is not None:
            present = np.asarray(values.is_valid())
            stream = bytes_stream(values.fill_null(b""))
            features.append(Feature(feature, stream, one, one + 1, present))
    if (price := batch.given("price")) is not None:
        stream, present = (
            float_stream(np.asarray(price.fill_null(0.0))),
            np.asarray(price.is_valid()),
        )
        features.append(Feature(f.CATALOGUE_PRICE, stream, one, one + 1, present))
    if batch.given("available_from") is not None:
        values, missing, _ = batch.times("available_from")
        stream = int_stream(values)
        features.append(Feature(f.CATALOGUE_AVAILABLE_FROM, stream, one, one + 1, ~missing))
    return features


def _lists(batch: Batch) -> list[Feature]:
    """Encodes columns of any number of values a row."""
    features = []
    for name, feature in (_TEXT_LISTS | _VECTORS).items():
        if (lists := batch.given(name)) is None:
            continue
        values, offsets = as_ragged(lists)
        stream = float_stream(np.asarray(values)) if name in _VECTORS else bytes_stream(values)
        features.append(Feature(feature, stream, offsets[:-1], offsets[1:]))
    return features
