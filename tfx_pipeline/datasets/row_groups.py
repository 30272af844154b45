"""The range of a column in a row group, from the file's footer where that says it."""

from __future__ import annotations

import numpy as np

from tfx_pipeline.datasets.convert import converted
from tfx_pipeline.datasets.schemas import EVENTS
from transforms.arrow import pa
from transforms.arrow import pq


def footer_range(file: pq.ParquetFile, group: int, column: str) -> tuple[int, int] | None:
    """Returns the least and the greatest value of a column of int64, None when unknown.

    Args:
        file: A file of the events.
        group: Number of the row group.
        column: `timestamp` or `ordinal`.
    """
    index = file.schema_arrow.get_field_index(column)
    if not pa.types.is_int64(file.schema_arrow.field(index).type):
        return None
    leaves = [file.schema.column(i).path for i in range(len(file.schema))]
    statistics = file.metadata.row_group(group).column(leaves.index(column)).statistics
    if statistics is None or not statistics.has_min_max:
        return None
    return int(statistics.min), int(statistics.max)


def read_values(file: pq.ParquetFile, group: int, column: str) -> np.ndarray:
    """Returns the values of a column that are there and convert, as [n] int64."""
    rows = file.read_row_group(group, columns=[column]).column(0)
    values = [converted(chunk, EVENTS.field(column)).drop_null() for chunk in rows.chunks]
    return np.concatenate([np.zeros(0, np.int64), *(np.asarray(one) for one in values)])
