"""Popularity of an entity as a training target: head, torso, tail or unseen."""

from __future__ import annotations

from collections.abc import Iterable

import apache_beam as beam
import numpy as np

HEAD_SHARE = 0.5  # of all training targets
TORSO_SHARE = 0.8  # head and torso together

UNSEEN, TAIL, TORSO, HEAD = 0, 1, 2, 3
NAMES = (b"unseen", b"tail", b"torso", b"head")

_COUNT = np.dtype([("hash", "<u8"), ("count", "<i8")])
_CLASS = np.dtype([("hash", "<u8"), ("class", "u1")])

_PENDING = 64  # elements joined at a time


def pack_counts(hashes: np.ndarray, counts: np.ndarray) -> bytes:
    """Returns counts of entities, by their [n] uint64 hashes, as bytes."""
    packed = np.empty(len(hashes), _COUNT)
    packed["hash"], packed["count"] = hashes, counts
    return packed.tobytes()


class Popularity(beam.CombineFn):
    """Adds up counts and divides the entities into classes.

    It holds 16 bytes an entity, whatever the number of events, and hands 9 to
    the step that writes.
    """

    def create_accumulator(self) -> list[bytes]:
        """Starts with nothing."""
        return []

    def add_input(self, accumulator: list[bytes], counts: bytes) -> list[bytes]:
        """Adds one bucket's counts."""
        accumulator.append(counts)
        return accumulator if len(accumulator) < _PENDING else [_add(accumulator)]

    def merge_accumulators(self, accumulators: Iterable[list[bytes]]) -> list[bytes]:
        """Adds up what several workers have."""
        return [_add([part for accumulator in accumulators for part in accumulator])]

    def extract_output(self, accumulator: list[bytes]) -> bytes:
        """Returns the classes, for `classify`."""
        return _classes(np.frombuffer(_add(accumulator), _COUNT))


def classify(classes: bytes, hashes: np.ndarray) -> np.ndarray:
    """Returns [n] int8, the class of each entity by its [n] uint64 hash."""
    table = np.frombuffer(classes, _CLASS)
    if not len(table):
        return np.full(len(hashes), UNSEEN, np.int8)
    row = np.minimum(np.searchsorted(table["hash"], hashes), len(table) - 1)
    found = table["hash"][row] == hashes
    return np.where(found, table["class"][row], UNSEEN).astype(np.int8)


def _add(parts: list[bytes]) -> bytes:
    counts = np.frombuffer(b"".join(parts), _COUNT)
    hashes, inverse = np.unique(counts["hash"], return_inverse=True)
    total = np.zeros(len(hashes), np.int64)
    np.add.at(total, inverse, counts["count"])
    return pack_counts(hashes, total)


def _classes(counts: np.ndarray) -> bytes:
    """Divides entities, most popular first, by the share of all targets that they cover."""
    order = np.lexsort((counts["hash"], -counts["count"]))
    covered = np.cumsum(counts["count"][order]) - counts["count"][order]  # by more popular ones
    total = max(1, int(counts["count"].sum()))
    classes = np.full(len(order), TAIL, np.uint8)
    classes[order[covered < TORSO_SHARE * total]] = TORSO
    classes[order[covered < HEAD_SHARE * total]] = HEAD
    packed = np.empty(len(order), _CLASS)
    packed["hash"], packed["class"] = counts["hash"], classes  # sorted by hash already
    return packed.tobytes()
