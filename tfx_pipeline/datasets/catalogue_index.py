"""The catalogue's entities and since when they exist, as a side input of 24 bytes a row."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator

import apache_beam as beam
import numpy as np

from tfx_pipeline.datasets.columns import Batch
from tfx_pipeline.datasets.file_parts import FilePart
from tfx_pipeline.datasets.file_parts import batches
from tfx_pipeline.datasets.judge import judge_names
from tfx_pipeline.datasets.row_hash import hash_ids

ALWAYS = np.iinfo(np.int64).min  # available since ever, or nobody knows since when

_ENTRY = np.dtype([("hash", "<u8"), ("row", "<i8"), ("available_from", "<i8")])
_PENDING = 64


class CatalogueIndex:
    """Looks entities up by the hash of their names."""

    def __init__(self, data: bytes) -> None:
        """Takes what `MergeKeys` returns."""
        self._entries = np.frombuffer(data, _ENTRY)

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Looks entities up.

        Args:
            hashes: [n] uint64.

        Returns:
            [n] bool, which are in the catalogue; and [n] int64, since when
            they are available, `ALWAYS` where that is not known.
        """
        if not len(self._entries):
            return np.zeros(len(hashes), bool), np.full(len(hashes), ALWAYS)
        entries = self._entries[self._find(hashes)]
        known = entries["hash"] == hashes
        return known, np.where(known, entries["available_from"], ALWAYS)

    def rows(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns [n] bool, which entities are in the catalogue, and [n] int64, in which row."""
        if not len(self._entries):
            return np.zeros(len(hashes), bool), np.zeros(len(hashes), np.int64)
        entries = self._entries[self._find(hashes)]
        return entries["hash"] == hashes, entries["row"]

    def first(self, hashes: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Returns [n] bool, which rows are the first of their entity in the catalogue."""
        if not len(self._entries):
            return np.zeros(len(hashes), bool)
        return self._entries["row"][self._find(hashes)] == rows

    def _find(self, hashes: np.ndarray) -> np.ndarray:
        row = np.searchsorted(self._entries["hash"], hashes)
        return np.minimum(row, len(self._entries) - 1)


class ReadKeys(beam.DoFn):
    """Reads names and dates of catalogue rows."""

    def process(self, element: FilePart) -> Iterator[bytes]:
        """Yields the entries of one part."""
        file_part = FilePart(*element)
        for first, batch in batches(file_part, ("entity_type", "entity_id", "available_from")):
            entries = np.empty(len(batch), _ENTRY)
            entries["hash"] = hash_ids(batch.names())
            entries["row"] = file_part.first_row + first + np.arange(len(batch))
            entries["available_from"] = available_from(batch)
            yield entries[judge_names(batch).good].tobytes()


class MergeKeys(beam.CombineFn):
    """Joins entries; of several rows with one name, the first in the log counts."""

    def create_accumulator(self) -> list[bytes]:
        """Starts with nothing."""
        return []

    def add_input(self, accumulator: list[bytes], entries: bytes) -> list[bytes]:
        """Adds one part's entries."""
        accumulator.append(entries)
        return accumulator if len(accumulator) < _PENDING else [_merge(accumulator)]

    def merge_accumulators(self, accumulators: Iterable[list[bytes]]) -> list[bytes]:
        """Joins what several workers have."""
        return [_merge([part for accumulator in accumulators for part in accumulator])]

    def extract_output(self, accumulator: list[bytes]) -> bytes:
        """Returns the index, for `CatalogueIndex`."""
        return _merge(accumulator)


def available_from(batch: Batch) -> np.ndarray:
    """Returns [n] int64 microseconds, `ALWAYS` for null and for what is no time."""
    values, missing, unparsable = batch.times("available_from")
    return np.where(missing | unparsable, ALWAYS, values)


def _merge(parts: list[bytes]) -> bytes:
    entries = np.frombuffer(b"".join(parts), _ENTRY)
    entries = entries[np.lexsort((entries["row"], entries["hash"]))]
    first = np.ones(len(entries), bool)
    first[1:] = entries["hash"][1:] != entries["hash"][:-1]
    return entries[first].tobytes()
