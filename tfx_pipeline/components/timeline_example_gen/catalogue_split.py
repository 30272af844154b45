"""The split `catalogue`: one `tf.Example` a row of the catalogue."""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam
import numpy as np

from tfx_pipeline.components.timeline_example_gen import dead_letter
from tfx_pipeline.components.timeline_example_gen import report
from tfx_pipeline.components.timeline_example_gen import tfrecord
from tfx_pipeline.components.timeline_example_gen.catalogue_index import CatalogueIndex
from tfx_pipeline.components.timeline_example_gen.catalogue_index import entity_names
from tfx_pipeline.components.timeline_example_gen.columns import as_ragged
from tfx_pipeline.components.timeline_example_gen.columns import batches
from tfx_pipeline.components.timeline_example_gen.columns import invalid_utf8
from tfx_pipeline.components.timeline_example_gen.columns import optional
from tfx_pipeline.components.timeline_example_gen.columns import required
from tfx_pipeline.components.timeline_example_gen.columns import times
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.dead_letter import Reasons
from tfx_pipeline.components.timeline_example_gen.encode import Feature
from tfx_pipeline.components.timeline_example_gen.encode import bytes_stream
from tfx_pipeline.components.timeline_example_gen.encode import encode_examples
from tfx_pipeline.components.timeline_example_gen.encode import float_stream
from tfx_pipeline.components.timeline_example_gen.encode import int_stream
from tfx_pipeline.components.timeline_example_gen.hashing import hash_ids
from tfx_pipeline.components.timeline_example_gen.partition import rows_of
from tfx_pipeline.components.timeline_example_gen.piece import Piece
from tfx_pipeline.datasets.event_log import CATALOGUE
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
    """Writes one file for each piece of the catalogue."""

    def __init__(self, config_json: str, shards: int, uri: str) -> None:
        """Takes the configuration as JSON, the number of pieces, and the artifact's place."""
        self._config_json = config_json
        self._shards = shards
        self._uri = uri

    def setup(self) -> None:
        """Parses the configuration once a worker."""
        self._config = TimelineConfig.model_validate_json(self._config_json)

    def process(self, element: Piece, index: bytes) -> Iterator[bytes]:
        """Yields counts for the report."""
        piece = Piece(*element)
        catalogue = CatalogueIndex(index)
        columns = [n for n in CATALOGUE.names if n != "image" or self._config.include_images]
        records, bad, why = [], [], []
        for first, batch in batches(piece, columns):
            features, reasons = read_rows(batch, piece.first_row + first, catalogue)
            good = pa.array(np.flatnonzero(reasons.codes == 0))
            records.append(encode_examples(features).take(good))
            bad.append(first + reasons.bad)
            why += reasons.of(reasons.bad)
        examples = pa.concat_arrays(records)
        data = tfrecord.compress_records(examples, self._config.compression_level)
        name = tfrecord.shard_name("catalogue", piece.number, self._shards)
        tfrecord.write_file(self._uri, name, data)
        counts = {"catalogue/examples": len(examples)}
        if why:
            letters = dead_letter.dead_letters(piece, np.concatenate(bad), why)
            counts |= dead_letter.count_by_reason(letters)
            sink = pa.BufferOutputStream()
            pq.write_table(letters, sink)
            name = f"catalogue-{piece.number:05d}-of-{self._shards:05d}.parquet"
            data = sink.getvalue().to_pybytes()
            tfrecord.write_file(self._uri, f"{dead_letter.DIRECTORY}/{name}", data)
        yield report.pack(counts)


def read_rows(
    batch: pa.RecordBatch, first_row: int, catalogue: CatalogueIndex
) -> tuple[list[Feature], Reasons]:
    """Checks a batch of the catalogue and encodes its columns.

    Args:
        batch: Rows of the catalogue in whatever types they have.
        first_row: Number of its first row in the log.
        catalogue: Knows which rows repeat an entity.

    Returns:
        The features of all rows, and what is wrong with some of them.
    """
    reasons = Reasons(batch.num_rows)
    names = entity_names(batch, reasons)
    rows = first_row + np.arange(batch.num_rows)
    reasons.mark(~catalogue.first(hash_ids(names), rows), "entity has a row already")
    one = np.arange(batch.num_rows)
    types = required(batch, CATALOGUE.field("entity_type")).fill_null(b"")
    features = [
        Feature(f.CATALOGUE_ENTITY, bytes_stream(names), one, one + 1),
        Feature(f.CATALOGUE_TYPE, bytes_stream(types), one, one + 1),
        *_single_values(batch, one, reasons),
        *_lists(batch, reasons),
    ]
    return features, reasons


def _single_values(batch: pa.RecordBatch, one: np.ndarray, reasons: Reasons) -> list[Feature]:
    """Encodes columns of one value a row; a null leaves the feature out."""
    features = []
    for name, feature in (("title", f.CATALOGUE_TITLE), ("image", f.CATALOGUE_IMAGE)):
        if (values := optional(batch, CATALOGUE.field(name))) is not None:
            if name == "title":
                reasons.mark(invalid_utf8(values), "title is not UTF-8")
            present = np.asarray(values.is_valid())
            stream = bytes_stream(values.fill_null(b""))
            features.append(Feature(feature, stream, one, one + 1, present))
    if (price := optional(batch, CATALOGUE.field("price"))) is not None:
        numbers = np.asarray(price.fill_null(0.0))
        reasons.mark(~np.isfinite(numbers) | (numbers < 0), "price is negative or not finite")
        present = np.asarray(price.is_valid())
        features.append(Feature(f.CATALOGUE_PRICE, float_stream(numbers), one, one + 1, present))
    if (found := times(batch, CATALOGUE.field("available_from"))) is not None:
        reasons.mark(found.unparsable, "available_from is unparsable")
        stream = int_stream(found.values)
        features.append(Feature(f.CATALOGUE_AVAILABLE_FROM, stream, one, one + 1, ~found.missing))
    return features


def _lists(batch: pa.RecordBatch, reasons: Reasons) -> list[Feature]:
    """Encodes columns of any number of values a row."""
    features = []
    for name, feature in (_TEXT_LISTS | _VECTORS).items():
        if (lists := optional(batch, CATALOGUE.field(name))) is None:
            continue
        values, offsets = as_ragged(lists)
        if name in _VECTORS:
            numbers = np.asarray(values)
            reasons.mark(rows_of(~np.isfinite(numbers), offsets), f"{name} is not finite")
            stream = float_stream(numbers)
        else:
            reasons.mark(rows_of(invalid_utf8(values), offsets), f"{name} are not UTF-8")
            stream = bytes_stream(values)
        features.append(Feature(feature, stream, offsets[:-1], offsets[1:]))
    return features
