from __future__ import annotations

import random
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest

from tests.helpers.direct import direct
from transforms.counting import CountValues
from transforms.counting import VocabularySpec


def _batch(*columns: dict[bytes, int]) -> tuple[np.ndarray, ...]:
    """One batch: for each vocabulary its distinct values and their weights."""
    arrays = []
    for column in columns:
        arrays.append(np.array(list(column), dtype=object))
        arrays.append(np.array(list(column.values()), dtype=np.int64))
    return tuple(arrays)


def _count(tmp_path: Path, specs: list[VocabularySpec], batches: list) -> dict[str, bytes]:
    analyzer = CountValues(specs)
    analyzer.base_temp_dir = str(tmp_path / "vocabularies")
    with direct() as pipeline:
        outputs = pipeline | beam.Create(batches) | analyzer
        for spec, output in zip(specs, outputs, strict=True):
            output | spec.name >> beam.Map(_check_path, analyzer.base_temp_dir, spec.name)
    folder = tmp_path / "vocabularies"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _check_path(path: np.ndarray, folder: str, name: str) -> None:
    assert path.item() == f"{folder}/{name}"


def test_counts_are_summed_over_batches_and_sorted(tmp_path):
    specs = [
        VocabularySpec("all", 100, min_count=0),
        VocabularySpec("often", 100, min_count=3, with_counts=True),
        VocabularySpec("few", 2),
        VocabularySpec("none", 100),
    ]
    batches = [
        _batch({b"a": 2, b"b": 1, b"z": 0}, {b"x y": 2, b"w": 2}, {b"1": 1, b"2": 1}, {}),
        _batch({b"b": 1, b"c": 5}, {b"x y": 1}, {b"3": 1, b"": 9, b"4\n": 9, b"5\r": 9}, {}),
        _batch({}, {}, {}, {}),
    ]
    assert _count(tmp_path, specs, batches) == {
        "all": b"c\nb\na\nz\n",
        "often": b"3 x y\n",
        "few": b"3\n2\n",
        "none": b"\x00\n",
    }


@pytest.mark.parametrize("parts", [1, 7])
def test_the_result_does_not_depend_on_how_values_are_batched(tmp_path, parts):
    generator = random.Random(0)
    values = [b"%d" % int(generator.paretovariate(0.5)) for _ in range(3_000)]
    expected: dict[bytes, int] = {}
    batches = []
    for part in range(parts):
        table: dict[bytes, int] = {}
        for value in values[part::parts]:
            table[value] = table.get(value, 0) + 1
            expected[value] = expected.get(value, 0) + 1
        batches.append(_batch(table))
    lines = sorted(((count, value) for value, count in expected.items()), reverse=True)[:50]
    written = _count(tmp_path, [VocabularySpec("v", 50, with_counts=True)], batches)
    assert written["v"] == b"".join(b"%d %s\n" % line for line in lines)
