"""Counts of a generation, from all workers into one file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import apache_beam as beam

NAME = "generation_report.json"

Counts = dict[str, int]  # keys are paths, such as `examples/train`


def pack(counts: Counts) -> bytes:
    """Returns counts as bytes."""
    return json.dumps(counts).encode()


class AddCounts(beam.CombineFn):
    """Adds up counts by key."""

    def create_accumulator(self) -> Counts:
        """Starts with nothing."""
        return {}

    def add_input(self, accumulator: Counts, counts: bytes) -> Counts:
        """Adds the counts of one element."""
        return _add(accumulator, json.loads(counts))

    def merge_accumulators(self, accumulators: Iterable[Counts]) -> Counts:
        """Adds up what several workers have."""
        total: Counts = {}
        for accumulator in accumulators:
            _add(total, accumulator)
        return total

    def extract_output(self, accumulator: Counts) -> bytes:
        """Returns the sums as bytes."""
        return pack(accumulator)


def nest(counts: Counts) -> dict[str, Any]:
    """Returns counts as nested objects: `a/b` becomes `{"a": {"b": ...}}`."""
    nested: dict[str, Any] = {}
    for key, value in sorted(counts.items()):
        *parents, leaf = key.split("/")
        inside = nested
        for parent in parents:
            inside = inside.setdefault(parent, {})
        inside[leaf] = value
    return nested


def _add(total: Counts, counts: Counts) -> Counts:
    for key, value in counts.items():
        total[key] = total.get(key, 0) + value
    return total
