"""Rows of the catalogue as `tf.Example`s."""

from __future__ import annotations

import numpy as np

from tfx_pipeline.datasets.catalogue_index import CatalogueIndex
from tfx_pipeline.datasets.columns import Batch
from tfx_pipeline.datasets.columns import as_ragged
from tfx_pipeline.datasets.judge import Judgement
from tfx_pipeline.datasets.judge import judge
from tfx_pipeline.datasets.limits import Limits
from tfx_pipeline.datasets.row_hash import hash_ids
from tfx_pipeline.examples.encode import Feature
from tfx_pipeline.examples.encode import bytes_stream
from tfx_pipeline.examples.encode import float_stream
from tfx_pipeline.examples.encode import int_stream
from transforms import features as f
from transforms import names
from transforms.arrow import pa

_TEXT_LISTS = {
    "categories": f.CATALOGUE_CATEGORIES,
    "attributes": f.CATALOGUE_ATTRIBUTES,
    "related_ids": f.CATALOGUE_RELATED,
}
_FIELDS = {"vector": names.CATALOGUE_VECTOR, "tokens": names.CATALOGUE_TOKEN}
_VECTORS = {"image_vector": f.CATALOGUE_IMAGE_VECTOR, "text_vector": f.CATALOGUE_TEXT_VECTOR}


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


def encode_field(
    name: str, column: str, lists: pa.ListArray, row: np.ndarray, rows: int
) -> Feature:
    """Encodes values of a declared field.

    Args:
        name: The field's name.
        column: `vector` or `tokens`.
        lists: [m] lists of numbers or of texts.
        row: [m] int64, ascending, the example of each.
        rows: Number of examples, n.

    Returns:
        A feature of n examples, absent where there is no value.
    """
    values, offsets = as_ragged(lists)
    lengths = np.zeros(rows, np.int64)
    lengths[row] = np.diff(offsets)
    stops = np.cumsum(lengths)
    stream = float_stream(np.asarray(values)) if column == "vector" else bytes_stream(values)
    return Feature(_FIELDS[column] + name, stream, stops - lengths, stops, lengths > 0)


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
