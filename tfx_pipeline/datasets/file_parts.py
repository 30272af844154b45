"""The unit in which an event log is read, in batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from typing import NamedTuple

from tfx_pipeline.datasets.columns import Batch
from transforms.arrow import parquet_file


class FilePart(NamedTuple):
    """Consecutive row groups of one file: the unit of reading.

    Attributes:
        table: `events`, `catalogue`, `users`, or `features.<name>`.
        path: The Parquet file.
        first_group: Its first row group.
        last_group: One behind the last row group.
        first_row: Rows of the same table before this part, in all files.
        first_row_of_file: Rows of the same file before this part.
        number: Number of this part among those of its table.
        name: The file's path below the log's directory.
    """

    table: str
    path: str
    first_group: int
    last_group: int
    first_row: int
    first_row_of_file: int
    number: int
    name: str = ""


ROWS_A_BATCH = 262_144


def batches(
    file_part: FilePart, columns: Sequence[str], rows: int = ROWS_A_BATCH, buffer_size: int = 0
) -> Iterator[tuple[int, Batch]]:
    """Reads a part.

    Args:
        file_part: What to read.
        columns: Names of columns; the ones that the file lacks are left out.
        rows: The most rows of a batch.
        buffer_size: Bytes of a file that are read at once; 0 reads a column's whole share of a
            row group, which is faster and takes as much memory.

    Yields:
        Row number of the batch within the part, and the batch.
    """
    with parquet_file(file_part.path, buffer_size=buffer_size) as file:
        present = [name for name in columns if name in file.schema_arrow.names]
        groups = list(range(file_part.first_group, file_part.last_group))
        row = 0
        for batch in file.iter_batches(rows, row_groups=groups, columns=present):
            yield row, Batch(file_part.table, batch)
            row += batch.num_rows
