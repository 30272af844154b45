"""Candidates of held-out pages of events, and random negatives: the same in every run."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

import apache_beam as beam
import numpy as np

from tfx_pipeline.components.timeline_example_gen import messages
from tfx_pipeline.components.timeline_example_gen.config import ANY
from tfx_pipeline.components.timeline_example_gen.splits import of_entity_type
from tfx_pipeline.datasets.catalogue_index import CatalogueIndex
from tfx_pipeline.datasets.file_parts import FilePart
from tfx_pipeline.datasets.file_parts import batches
from tfx_pipeline.datasets.judge import judge_names
from tfx_pipeline.datasets.row_hash import hash_ids
from transforms.arrow import pa
from transforms.arrow import pc

# Of a larger catalogue those are drawn from whose hashes are smallest, a random sample that
# every worker can hold.
MOST_NEGATIVES = 1 << 20

_EMPTY = pa.table({"hash": pa.array([], pa.uint64()), "name": pa.array([], pa.binary())})
_PENDING = 64  # elements joined at a time


class ReadNames(beam.DoFn):
    """Reads the names of the catalogue's entities of some types.

    Args:
        candidate_types: The types; `*` is all.
    """

    def __init__(self, candidate_types: Sequence[str]) -> None:
        self._types = candidate_types

    def process(self, element: FilePart) -> Iterator[bytes]:
        """Yields names and their hashes of one part."""
        for _, batch in batches(FilePart(*element), ("entity_type", "entity_id")):
            wanted = judge_names(batch).good
            if ANY not in self._types:
                types = pa.array([name.encode() for name in self._types], pa.binary())
                wanted = wanted & np.asarray(pc.is_in(batch.column("entity_type"), types))
            names = batch.names().filter(pa.array(wanted))
            yield messages.pack(pa.table({"hash": hash_ids(names), "name": names}))


class MergeNames(beam.CombineFn):
    """Joins names, without duplicates."""

    def create_accumulator(self) -> list[bytes]:
        """Starts with nothing."""
        return []

    def add_input(self, accumulator: list[bytes], names: bytes) -> list[bytes]:
        """Adds one part's names."""
        accumulator.append(names)
        return accumulator if len(accumulator) < _PENDING else [_merge(accumulator)]

    def merge_accumulators(self, accumulators: Iterable[list[bytes]]) -> list[bytes]:
        """Joins what several workers have."""
        return [_merge([part for accumulator in accumulators for part in accumulator])]

    def extract_output(self, accumulator: list[bytes]) -> bytes:
        """Returns the names by their hashes, for `Items`."""
        return _merge(accumulator)


class Items:
    """The candidates: positives of `events` are among them, and negatives are drawn from them.

    Args:
        data: What `MergeNames` returns, or b"" for nothing.
        catalogue: Says since when items are available.
        candidate_types: Their entity types; `*` is all.

    Attributes:
        names: [n] binary, by the moment from which they are available.
        hashes: [n] uint64, of the names.
    """

    def __init__(
        self, data: bytes, catalogue: CatalogueIndex, candidate_types: Sequence[str]
    ) -> None:
        table = messages.unpack(data) if data else _EMPTY
        hashes = np.asarray(table.column("hash"))
        _, available_from = catalogue.find(hashes)
        order = np.argsort(available_from, kind="stable")
        self.names: pa.BinaryArray = table.column("name").combine_chunks().take(pa.array(order))
        self.hashes = hashes[order]
        self._available_from = available_from[order]
        self._catalogue = catalogue
        self._types = candidate_types

    def hold(self, names: pa.Array) -> np.ndarray:
        """Returns [V] bool, which of [V] entities are candidates."""
        known, _ = self._catalogue.find(hash_ids(names))
        return known & of_entity_type(names, self._types)

    def draw(
        self, users: np.ndarray, numbers: np.ndarray, times: np.ndarray, count: int
    ) -> np.ndarray:
        """Draws items for events, with replacement, each as likely that was available then.

        Where none was, all are. Beside them the draws depend on the user and on the event's
        number in the user's life alone
        (SplitMix64; Steele et al. 2014, https://doi.org/10.1145/2714064.2660195).

        Args:
            users: [n] uint64, a hash of each event's user.
            numbers: [n] int64, how many events of the user came before.
            times: [n] int64, microseconds.
            count: Draws for each event.

        Returns:
            [n, count] int64, numbers of items.

        Raises:
            ValueError: There is no item.
        """
        if not len(self.hashes):
            raise ValueError(
                "`label.source: events` draws negatives from the catalogue, but no row of it is "
                "of a type in `candidate_types`. Name types that the catalogue has."
            )
        event = _mix(_mix(users) ^ numbers.astype(np.uint64))  # [n]
        step = np.uint64(0x9E3779B97F4A7C15) * np.arange(1, count + 1, dtype=np.uint64)
        random = _mix(event[:, None] + step) >> np.uint64(32)  # [n, count]
        available = np.searchsorted(self._available_from, times, side="right")
        among = np.where(available > 0, available, len(self.hashes)).astype(np.uint64)  # [n]
        return (random * among[:, None] >> np.uint64(32)).astype(np.int64)


def _mix(values: np.ndarray) -> np.ndarray:
    """Returns the finaliser of SplitMix64, a bijection of 64 bits."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _merge(parts: Sequence[bytes]) -> bytes:
    table = pa.concat_tables([_EMPTY, *map(messages.unpack, parts)])
    _, first = np.unique(np.asarray(table.column("hash")), return_index=True)
    return messages.pack(table.take(pa.array(first[:MOST_NEGATIVES])))
