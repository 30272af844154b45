"""Parquet files, a batch of rows at a time."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tfx_pipeline.datasets.importer.blocks import Block
from tfx_pipeline.datasets.importer.blocks import require_columns
from tfx_pipeline.datasets.importer.text_file import open_bytes
from transforms.arrow import pa
from transforms.arrow import pq

MAGIC = b"PAR1"
_ROWS = 131_072


class ParquetFile:
    """Reads a Parquet file; a compressed one is first unpacked to a temporary file.

    Attributes:
        name: Its path, for messages.
        format: Its format in words.
    """

    def __init__(self, path: Path) -> None:
        """Opens a file that begins as Parquet files do."""
        self.name = str(path)
        self._path = path
        with path.open("rb") as file:
            self._compressed = file.read(len(MAGIC)) != MAGIC
        self.format = "Parquet, compressed as a whole" if self._compressed else "Parquet"

    def require(self, wanted: Sequence[str]) -> None:
        """Checks that columns are there; see `InputFile`."""
        with self._open() as file:
            require_columns(self.name, file.schema_arrow.names, wanted)

    def blocks(self, wanted: Sequence[str]) -> Iterator[Block]:
        """Reads columns, a batch of rows at a time; see `InputFile`."""
        first = 1
        with self._open() as file:
            for batch in file.iter_batches(_ROWS, columns=list(wanted)):
                rows = pa.Table.from_batches([batch]).select(list(wanted))
                yield Block(rows, np.arange(first, first + len(batch)))
                first += len(batch)

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        try:
            if not self._compressed:
                with pq.ParquetFile(self._path) as file:
                    yield file
                return
            with tempfile.NamedTemporaryFile() as whole:  # its index is at the end
                with open_bytes(self._path) as stream:
                    shutil.copyfileobj(stream, whole, 1 << 20)
                whole.flush()
                with pq.ParquetFile(whole.name) as file:
                    yield file
        except pa.ArrowException as error:
            raise ValueError(
                f"`{self.name}` is Parquet that is damaged, incomplete or refused: {error}. Write "
                "it again, or leave it out."
            ) from error
