"""Reads a piece of an event log in batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence

from tfx_pipeline.components.timeline_example_gen.piece import Piece
from tfx_pipeline.datasets.columns import Batch
from transforms.arrow import pq

ROWS_A_BATCH = 262_144


def batches(
    piece: Piece, columns: Sequence[str], rows: int = ROWS_A_BATCH, buffer_size: int = 0
) -> Iterator[tuple[int, Batch]]:
    """Reads a piece.

    Args:
        piece: What to read.
        columns: Names of columns; the ones that the file lacks are left out.
        rows: The most rows of a batch.
        buffer_size: Bytes of a file that are read at once; 0 reads a column's whole share of a
            row group, which is faster and takes as much memory.

    Yields:
        Row number of the batch within the piece, and the batch.
    """
    with pq.ParquetFile(piece.path, buffer_size=buffer_size) as file:
        present = [name for name in columns if name in file.schema_arrow.names]
        groups = list(range(piece.first_group, piece.last_group))
        row = 0
        for batch in file.iter_batches(rows, row_groups=groups, columns=present):
            yield row, Batch(piece.table, batch)
            row += batch.num_rows
