"""Random negatives of held-out pages, the same in every run and on any number of workers."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

import apache_beam as beam
import numpy as np

from tfx_pipeline.components.timeline_example_gen import messages
from tfx_pipeline.components.timeline_example_gen.config import ANY
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
    """The entities that negatives are drawn from."""

    def __init__(self, data: bytes) -> None:
        """Takes what `MergeNames` returns, or b"" for nothing."""
        table = messages.unpack(data) if data else _EMPTY
        self.names: pa.BinaryArray = table.column("name").combine_chunks()
        self._hashes = np.asarray(table.column("hash"))

    def find(self, names: pa.Array, codes: np.ndarray) -> np.ndarray:
        """Looks entities up.

        Args:
            names: [V] binary.
            codes: [...] int64, numbers of names.

        Returns:
            [...] int64, the number of each entity among the items, -1 for none.
        """
        distinct, inverse = np.unique(codes, return_inverse=True)
        hashes = hash_ids(names.take(pa.array(distinct)))
        found = np.searchsorted(self._hashes, hashes)
        known = self._hashes[np.minimum(found, len(self._hashes) - 1)] == hashes
        return np.where(known, found, -1)[inverse].reshape(codes.shape)

    def draw(self, users: np.ndarray, numbers: np.ndarray, count: int) -> np.ndarray:
        """Draws items for events, with replacement and each as likely as the others.

        The draws depend on the user and on the event's number in the user's life alone
        (SplitMix64; Steele et al. 2014, https://doi.org/10.1145/2714064.2660195).

        Args:
            users: [n] uint64, a hash of each event's user.
            numbers: [n] int64, how many events of the user came before.
            count: Draws for each event.

        Returns:
            [n, count] int64, numbers of items.

        Raises:
            ValueError: There is no item.
        """
        if not len(self._hashes):
            raise ValueError(
                "`label.source: events` draws negatives from the catalogue, but no row of it is "
                "of a type in `candidate_types`. Name types that the catalogue has."
            )
        event = _mix(_mix(users) ^ numbers.astype(np.uint64))  # [n]
        step = np.uint64(0x9E3779B97F4A7C15) * np.arange(1, count + 1, dtype=np.uint64)
        random = _mix(event[:, None] + step) >> np.uint64(32)  # [n, count]
        return (random * np.uint64(len(self._hashes)) >> np.uint64(32)).astype(np.int64)


def _mix(values: np.ndarray) -> np.ndarray:
    """Returns the finaliser of SplitMix64, a bijection of 64 bits."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _merge(parts: Sequence[bytes]) -> bytes:
    table = pa.concat_tables([_EMPTY, *map(messages.unpack, parts)])
    _, first = np.unique(np.asarray(table.column("hash")), return_index=True)
    return messages.pack(table.take(pa.array(first[:MOST_NEGATIVES])))
