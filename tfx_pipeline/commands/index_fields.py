"""Declared fields as columns of the files of `vitrine index update`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tfx_pipeline.datasets.columns import Batch
from tfx_pipeline.datasets.judge import Judgement
from tfx_pipeline.datasets.judge import judge
from tfx_pipeline.datasets.limits import Limits
from tfx_pipeline.datasets.schemas import features_table
from tfx_pipeline.examples.catalogue import encode_field
from tfx_pipeline.examples.encode import Feature
from transforms.arrow import pa
from transforms.catalogue_fields import CatalogueFields

_KEY = ("entity_type", "entity_id")


class FieldColumn(NamedTuple):
    """A declared field: its name, the column of its own table, and the length of a vector."""

    name: str
    column: str
    length: int | None


def field_columns(fields: CatalogueFields) -> dict[str, FieldColumn]:
    """Returns the declared fields by their columns, `vector/<name>` and `token/<name>`."""
    vectors = {
        f"vector/{name}": FieldColumn(name, "vector", n) for name, n in fields.vectors.items()
    }
    return vectors | {f"token/{name}": FieldColumn(name, "tokens", None) for name in fields.tokens}


def read_fields(
    batch: Batch, declared: Mapping[str, FieldColumn], found: Judgement
) -> list[Feature]:
    """Judges and encodes the declared fields among the columns of catalogue rows.

    Args:
        batch: Rows of the catalogue, n.
        declared: What `field_columns` returns.
        found: Receives what is wrong with the rows.

    Returns:
        A feature of n examples for each field that the rows have.
    """
    features = []
    for name in filter(batch.has, declared):
        field, columns = declared[name], [*_KEY, name]
        arrays = [batch.rows.column(batch.rows.schema.get_field_index(one)) for one in columns]
        table = features_table(field.name)
        own = Batch(table, pa.RecordBatch.from_arrays(arrays, [*_KEY, field.column]))
        limits = Limits(vector_sizes={table: field.length} if field.length else {})
        for kind, _, bad, hint in judge(own, limits).findings:
            found.mark(kind, name, bad, hint)
        lists, every = own.column(field.column), np.arange(len(batch))
        features.append(encode_field(field.name, field.column, lists, every, len(batch)))
    return features
