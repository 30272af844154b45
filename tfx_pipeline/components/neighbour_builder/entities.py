"""The dictionary of entities: names, counted events, and the newest time of training."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np

from serving.index.config import EVERY
from tfx_pipeline.components.timeline_example_gen.messages import pack
from tfx_pipeline.components.timeline_example_gen.messages import unpack
from tfx_pipeline.datasets.row_hash import hash_ids
from transforms.arrow import pa
from transforms.arrow import pc

_NEWEST = b"newest"
_PENDING = 64  # elements joined at a time
_MOST_RANGES = 4_096
_SCHEMA = pa.schema([("entity", pa.binary()), ("events", pa.int64())])

Part = tuple[bytes, int]  # a packed table of counts, and the newest time
Parts = tuple[list[bytes], int]


def count_entities(names: pa.Array) -> pa.Table:
    """Counts how often each of [n] binary names is there."""
    counts = names.value_counts()
    return pa.Table.from_arrays([counts.field("values"), counts.field("counts")], schema=_SCHEMA)


def add_counts(tables: Sequence[pa.Table]) -> pa.Table:
    """Adds counts up: a table with each entity once, sorted."""
    if not tables:
        return _SCHEMA.empty_table()
    total = pa.concat_tables(tables).group_by("entity").aggregate([("events", "sum")])
    table = pa.table([total["entity"], total["events_sum"]], schema=_SCHEMA).combine_chunks()
    return table.take(pc.sort_indices(table["entity"]))


class MergeEntities(beam.CombineFn):
    """Joins the counts of all files into one dictionary, packed."""

    def create_accumulator(self) -> Parts:
        """Starts with nothing."""
        return [], 0

    def add_input(
        self, accumulator: tuple[list[bytes], int], part: Part
    ) -> tuple[list[bytes], int]:
        """Adds one file's counts."""
        parts, newest = accumulator
        parts = [*parts, part[0]]
        return (parts if len(parts) < _PENDING else _merged(parts)), max(newest, part[1])

    def merge_accumulators(self, accumulators: Iterable[Parts]) -> Parts:
        """Adds up what several workers have."""
        parts, newest = zip(*accumulators, strict=True)
        return _merged([one for some in parts for one in some]), max(newest)

    def extract_output(self, accumulator: Parts) -> bytes:
        """Returns the dictionary, for `Entities.of`."""
        parts, newest = accumulator
        table = add_counts([unpack(part) for part in parts])
        return pack(table.replace_schema_metadata({_NEWEST: str(newest).encode()}))


def _merged(parts: Sequence[bytes]) -> list[bytes]:
    return [pack(add_counts([unpack(part) for part in parts]))]


@dataclass(frozen=True)
class Entities:
    """Entities of the counted events; N of them, sorted by name.

    Attributes:
        names: [N] binary, `type:id`.
        events: [N] int64, counted events.
        newest: Time of the newest event, microseconds.
    """

    names: pa.Array
    events: np.ndarray
    newest: int

    @staticmethod
    @functools.lru_cache(maxsize=1)
    def of(packed: bytes) -> Entities:
        """Reads what `MergeEntities` returned, once a process."""
        table = unpack(packed)
        names = (
            pa.concat_arrays(table["entity"].chunks) if len(table) else pa.array([], pa.binary())
        )
        newest = int(table.schema.metadata[_NEWEST])
        return Entities(names, table["events"].to_numpy(), newest)

    @functools.cached_property
    def _by_hash(self) -> tuple[np.ndarray, np.ndarray]:
        hashes = hash_ids(self.names)
        order = np.argsort(hashes)
        return hashes[order], order

    def rows(self, names: pa.Array) -> np.ndarray:
        """Returns [n] int64, the row of each of [n] binary names, -1 for one that is not there."""
        if not len(self.names):
            return np.full(len(names), -1)
        encoded = names.dictionary_encode()
        hashes, order = self._by_hash
        wanted = hash_ids(encoded.dictionary)
        at = np.minimum(np.searchsorted(hashes, wanted), len(hashes) - 1)
        found = np.where(hashes[at] == wanted, order[at], -1)
        rows: np.ndarray = found[np.asarray(encoded.indices)]
        return rows

    def of_types(self, types: Sequence[str]) -> np.ndarray:
        """Returns [N] bool, which entities are of some types; `*` is all."""
        if EVERY in types:
            return np.ones(len(self.names), bool)
        kinds = pc.list_element(pc.split_pattern(self.names, ":", max_splits=1), 0)
        listed = pc.is_in(kinds, value_set=pa.array([t.encode() for t in types], pa.binary()))
        return np.asarray(listed)

    def ranges(self, events: int) -> np.ndarray:
        """Returns [R + 1] int64, where ranges of rows begin that have about so many events."""
        done = np.cumsum(self.events)
        total = int(done[-1]) if len(done) else 0
        parts = min(max(1, -(-total // events)), _MOST_RANGES)
        inner = np.searchsorted(done, total * np.arange(1, parts) // parts)
        return np.concatenate([[0], inner, [len(done)]]).astype(np.int64)
